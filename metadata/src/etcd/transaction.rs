//! One attempt at a transaction, as etcd says it.
use bytes::Bytes;
use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse};
use tokio::time::{Instant, timeout};

use super::failure::{Failure, failure};
use super::{ATTEMPT, EtcdStore, until, version};
use crate::envelope;
use crate::settle::{Answer, Attempts, Seen};
use crate::store::{Error, Expect, Operation, Transaction, Version};

impl Attempts for EtcdStore {
    async fn attempt(&self, transaction: &Transaction, guards: &[Expect], with_tokens: bool) -> Answer {
        let compares = self.compares(transaction, guards);
        let unguarded = compares.is_empty();
        let txn = Txn::new().when(compares).and_then(self.writes(transaction)).or_else(if unguarded {
            Vec::new()
        } else {
            self.reads(transaction, with_tokens)
        });
        match timeout(ATTEMPT, self.kv().txn(txn)).await {
            Ok(Ok(answer)) => self.answer(transaction, &answer),
            Ok(Err(error)) => match failure(error) {
                Failure::NotDone(reason) => Answer::NotDone(reason),
                Failure::Lost(reason) | Failure::TooLarge(reason) => Answer::Lost(reason),
                Failure::Refused(reason) => Answer::Refused(Error::Refused { reason }),
            },
            Err(_) => Answer::Lost(format!("no answer from etcd within {ATTEMPT:?}")),
        }
    }

    async fn versions(&self, transaction: &Transaction) -> Result<Vec<Option<Version>>, Error> {
        let answer = until(Instant::now() + ATTEMPT, || {
            let mut kv = self.kv();
            let txn = Txn::new().and_then(self.reads(transaction, false));
            async move { kv.txn(txn).await }
        });
        let answer = answer.await.map_err(Failure::into_error)?;
        let seen = self.seen(transaction, &answer)?;
        Ok(seen.into_iter().map(|seen| seen.map(|seen| seen.version)).collect())
    }
}

impl EtcdStore {
    /// A record that is absent has the revision 0.
    fn compares(&self, transaction: &Transaction, guards: &[Expect]) -> Vec<Compare> {
        let guarded = transaction.operations.iter().zip(guards);
        let compares = guarded.filter_map(|(operation, guard)| {
            let revision = match guard {
                Expect::Any => return None,
                Expect::Absent => 0,
                // No record has a version beyond what etcd counts.
                Expect::Version(version) => i64::try_from(version.0).unwrap_or(i64::MAX),
            };
            Some(Compare::mod_revision(self.full(operation.key().as_str()), CompareOp::Equal, revision))
        });
        compares.collect()
    }

    fn writes(&self, transaction: &Transaction) -> Vec<TxnOp> {
        let writes = transaction.operations.iter().filter_map(|operation| match operation {
            Operation::Put { key, value, lease, .. } => {
                let stored = envelope::seal(key, transaction.token, value);
                let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
                Some(TxnOp::put(self.full(key.as_str()), stored, options))
            }
            Operation::Delete { key, .. } => Some(TxnOp::delete(self.full(key.as_str()), None::<DeleteOptions>)),
            Operation::Check { .. } => None,
        });
        writes.collect()
    }

    /// Values are read only for the tokens in front of them.
    fn reads(&self, transaction: &Transaction, with_tokens: bool) -> Vec<TxnOp> {
        let options = || if with_tokens { GetOptions::new() } else { GetOptions::new().with_keys_only() };
        let keys = transaction.operations.iter().map(Operation::key);
        keys.map(|key| TxnOp::get(self.full(key.as_str()), Some(options()))).collect()
    }

    fn answer(&self, transaction: &Transaction, answer: &TxnResponse) -> Answer {
        let at = version(answer.header().map_or(0, etcd_client::ResponseHeader::revision));
        if answer.succeeded() {
            return Answer::Done(at);
        }
        match self.seen(transaction, answer) {
            Ok(seen) => Answer::Differs { at, seen },
            Err(error) => Answer::Lost(error.to_string()),
        }
    }

    /// One per operation, in their order. A record that does not read has no token.
    fn seen(&self, transaction: &Transaction, answer: &TxnResponse) -> Result<Vec<Option<Seen>>, Error> {
        let answers = answer.op_responses();
        if answers.len() != transaction.operations.len() {
            return Err(Error::Unavailable { reason: "etcd answered another number of operations".into() });
        }
        let seen = transaction.operations.iter().zip(answers).map(|(operation, answer)| {
            let TxnOpResponse::Get(mut answer) = answer else {
                return Err(Error::Unavailable { reason: "etcd answered another operation".into() });
            };
            Ok(answer.take_kvs().into_iter().next().map(|pair| {
                let version = version(pair.mod_revision());
                let (_, stored) = pair.into_key_value();
                let token = envelope::open(operation.key(), &Bytes::from(stored)).ok().map(|(token, _)| token);
                Seen { version, token }
            }))
        });
        seen.collect()
    }
}
