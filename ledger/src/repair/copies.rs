//! Carries copying: between bookies, at the pace that is allowed, and into the record.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use proto::bookie::request;
use proto::records::Fragment;
use proto::{BookieId, EntryId, LedgerId};

use super::audit::{self, Audit, Extent, Held};
use super::copying::{Ask, Copying, Job, Party, Tally, Verdict};
use super::progress::Counters;
use super::{Repaired, Repairs, Step, no_replacement, plan};
use crate::LedgerError;
use crate::directory::Known;
use crate::links::Link;
use crate::placement::{Candidate, Condition, Wanted};
use crate::reader::Holder;
use crate::records::changes;
use crate::records::{self, Updated, Versioned};
use crate::recovery::Reply;

/// How long one bookie may take for one ask.
const PATIENCE: Duration = Duration::from_secs(10);

impl Repairs {
    /// Lets another bookie hold what `old` should hold. `false`: the record has changed meanwhile.
    pub(super) async fn replace(
        &self,
        record: &Versioned,
        known: &Known,
        bad: &BTreeSet<BookieId>,
        first: EntryId,
        seat: usize,
        old: &BookieId,
    ) -> Result<bool, LedgerError> {
        let ledger = LedgerId(record.record.ledger);
        let metadata = &self.shared.metadata;
        let mut never: Vec<BookieId> = bad.iter().cloned().collect();
        let rather = records::may_hold(&record.record);
        let members = records::bookies(record.fragment(first));
        loop {
            let wanted = Wanted {
                policy: record.policy(),
                members: &members,
                out: [seat].into_iter().collect(),
                rather: &rather,
                never: &never,
                suspects: true,
            };
            let Some((_, target)) = self.shared.placer.replacements_among(&known.candidates, &wanted).pop() else {
                return Err(no_replacement(ledger, known, std::slice::from_ref(old)));
            };
            // Listed before it holds anything, so that a deletion finds it whatever happens here.
            let note = |record: &_| changes::note_holders(record, std::slice::from_ref(&target));
            if !matches!(records::update(metadata, ledger, note).await?, Updated::Done(_)) {
                return Ok(false);
            }
            tracing::info!(%ledger, %first, %old, new = %target, "copying what a bookie should hold to another");
            match self.copy(record, known, first, seat, &target).await {
                Verdict::Done(tally) => {
                    is_complete(ledger, &tally)?;
                    let replace = |now: &_| changes::replace_member(now, &record.record, first, old, &target);
                    let updated = records::update(metadata, ledger, replace).await?;
                    let is_done = matches!(updated, Updated::Done(_));
                    if is_done {
                        Counters::one(&self.counters.members_replaced);
                    }
                    return Ok(is_done);
                }
                Verdict::Deleted => return Err(LedgerError::NotFound { ledger }),
                Verdict::Silent => self.shared.links.to(&target).suspect("takes no copies"),
                Verdict::Unfit => tracing::error!(%ledger, %first, bookie = %target, "a bookie holds a damaged copy"),
            }
            never.push(target);
        }
    }

    /// Gives a marked member what it lacks. One that holds damaged copies keeps them, so another takes its place.
    pub(super) async fn fill_up(
        &self,
        record: &Versioned,
        known: &Known,
        bad: &BTreeSet<BookieId>,
        (first, seat, member): (EntryId, usize, &BookieId),
        repaired: &mut Repaired,
    ) -> Result<Step, LedgerError> {
        let ledger = LedgerId(record.record.ledger);
        let is_there = |candidate: &Candidate| candidate.bookie == *member && candidate.condition != Condition::Away;
        if !known.candidates.iter().any(is_there) {
            return Ok(Step::WaitsFor(member.clone()));
        }
        match self.copy(record, known, first, seat, member).await {
            Verdict::Done(tally) => {
                is_complete(ledger, &tally)?;
                let unmark = |now: &_| changes::unmark(now, &record.record, first, member);
                if matches!(records::update(&self.shared.metadata, ledger, unmark).await?, Updated::Done(_)) {
                    Counters::one(&self.counters.members_filled);
                    repaired.filled += 1;
                }
                Ok(Step::Done)
            }
            Verdict::Unfit => {
                tracing::error!(%ledger, %first, bookie = %member, "a bookie holds a damaged copy");
                repaired.replaced += u32::from(self.replace(record, known, bad, first, seat, member).await?);
                Ok(Step::Done)
            }
            Verdict::Silent => Ok(Step::WaitsFor(member.clone())),
            Verdict::Deleted => Err(LedgerError::NotFound { ledger }),
        }
    }

    /// Copies to `target` what `seat` should hold of the fragment at `first`.
    async fn copy(&self, record: &Versioned, known: &Known, first: EntryId, seat: usize, target: &BookieId) -> Verdict {
        let Some((fragment, end)) = plan::fragment(&record.record, first) else { return Verdict::Deleted };
        let (links, sources) = self.sources(record, known, fragment, target).into_iter().unzip();
        let job = Job {
            ledger: LedgerId(record.record.ledger),
            policy: record.policy(),
            seat,
            entries: std::iter::once(first..end).collect(),
            entry_bytes: plan::entry_bytes(&record.record),
            sources,
            look: false,
        };
        self.carry(job, &self.shared.links.to(target), links).await
    }

    /// Everybody else who may hold entries of the fragment. One that is retired never answers.
    fn sources(
        &self,
        record: &Versioned,
        known: &Known,
        fragment: &Fragment,
        target: &BookieId,
    ) -> Vec<(Arc<Link>, Holder)> {
        let members = records::bookies(fragment);
        let lacking = records::lacking(fragment);
        let beside = records::may_hold(&record.record).into_iter().filter(|bookie| !members.contains(bookie));
        let seated = members.iter().cloned().enumerate().map(|(seat, bookie)| (bookie, Some(seat)));
        let all = seated.chain(beside.map(|bookie| (bookie, None)));
        let others = all.filter(|(bookie, _)| bookie != target && !known.retired.contains(bookie));
        others
            .map(|(bookie, seat)| {
                let link = self.shared.links.to(&bookie);
                let is_ready = |other: &&Candidate| other.bookie == bookie && other.condition != Condition::Away;
                let away = !known.candidates.iter().any(|other| is_ready(&other));
                let doubtful = away || self.shared.links.is_suspect(&bookie);
                (link, Holder { seat, lacking: seat.is_some_and(|seat| lacking.contains(seat)), doubtful })
            })
            .collect()
    }

    async fn carry(&self, job: Job, target: &Arc<Link>, sources: Vec<Arc<Link>>) -> Verdict {
        let ledger = job.ledger;
        let mut machine = Copying::new(job);
        let mut asked = FuturesUnordered::new();
        let mut noted = Tally::default();
        loop {
            for ask in machine.asks() {
                let link = match ask.party {
                    Party::Target => target.clone(),
                    Party::Source(source) => sources[source].clone(),
                };
                asked.push(async move {
                    let replies = link.ask(ledger, ask.bodies.clone(), PATIENCE).await;
                    (ask, replies)
                });
            }
            if let Some(verdict) = machine.verdict() {
                return verdict;
            }
            let Some((ask, replies)) = asked.next().await else { return Verdict::Silent };
            let read = bytes(&ask, &replies);
            machine.answered(&ask, replies);
            let now = machine.tally();
            self.counters.note(&noted, &now);
            noted = now;
            if 0 < read {
                self.pace.take(read).await;
            }
        }
    }

    /// Reads what members hold of all fragments that have ended, and compares it with its digests.
    pub async fn audit(&self, ledger: LedgerId, extent: Extent) -> Result<Audit, LedgerError> {
        let record = records::read_existing(&self.shared.metadata, ledger).await?;
        let mut members = Vec::new();
        for fragment in &record.record.fragments {
            let first = EntryId(fragment.first);
            let Some((_, end)) = plan::fragment(&record.record, first) else { continue };
            let entries = audit::entries(extent, first, end, |below| self.shared.placer.pick(below));
            for (seat, bookie) in records::bookies(fragment).into_iter().enumerate() {
                let job = Job {
                    ledger,
                    policy: record.policy(),
                    seat,
                    entries: entries.clone(),
                    entry_bytes: plan::entry_bytes(&record.record),
                    sources: Vec::new(),
                    look: true,
                };
                let verdict = self.carry(job, &self.shared.links.to(&bookie), Vec::new()).await;
                if verdict == Verdict::Deleted {
                    return Err(LedgerError::NotFound { ledger });
                }
                let marked = fragment.lacking.iter().any(|name| name == bookie.as_str());
                members.push(held(first, bookie, verdict, marked));
            }
        }
        Ok(Audit { ledger, members })
    }
}

fn held(first: EntryId, bookie: BookieId, verdict: Verdict, marked: bool) -> Held {
    let (answered, tally) = match verdict {
        Verdict::Done(tally) => (true, tally),
        _ => (false, Tally::default()),
    };
    let Tally { present: whole, missing, damaged, first_bad, .. } = tally;
    Held { first, bookie, answered, whole, missing, damaged, first_bad, marked }
}

/// Payload that was read.
fn bytes(ask: &Ask, replies: &[Reply]) -> u64 {
    let of = |(body, reply): (&request::Body, &Reply)| match (body, reply) {
        (request::Body::Read(_), Reply::Entries(entries)) => {
            entries.iter().map(|entry| entry.payload.len() as u64).sum()
        }
        _ => 0,
    };
    ask.bodies.iter().zip(replies).map(of).sum()
}

fn is_complete(ledger: LedgerId, tally: &Tally) -> Result<(), LedgerError> {
    if let Some(entry) = tally.first_lost {
        tracing::error!(%ledger, %entry, entries = tally.lost, "entries are on none of their bookies");
        return Err(LedgerError::Lost { ledger, entry });
    }
    match tally.first_unreadable {
        Some(entry) => {
            let reason = format!("{} entries could not be had from any holder", tally.unreadable);
            Err(LedgerError::Unreadable { ledger, entry, reason })
        }
        None => Ok(()),
    }
}
