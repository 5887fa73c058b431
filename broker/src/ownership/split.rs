//! One bundle becomes several, in one transaction, under their owner.
use metadata::{Error, Expect, Key, Operation, Transaction};
use prost::Message;
use proto::keys;
use proto::records::NamespaceRecord;

use super::{Bundle, Bundles, Ownership, OwnershipError, Shared, owner_record};

/// Each part is a key in the transaction.
const PARTS_MAX: usize = 64;

/// Why a bundle stays as it is.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum SplitError {
    /// Give boundaries that lie inside it.
    #[error("Invalid bundle boundaries")]
    Boundaries,
    /// Ask its owner, or wait until it has moved.
    #[error("Namespace bundle {0} is not served by this broker, or is being changed")]
    NotHere(Bundle),
    /// Look what became of it, and ask again.
    #[error("Namespace bundle {0} was changed by another at the same time")]
    Overtaken(Bundle),
    #[error(transparent)]
    Ownership(#[from] OwnershipError),
}

impl From<Error> for SplitError {
    fn from(error: Error) -> Self {
        Self::Ownership(error.into())
    }
}

impl Ownership {
    /// Cuts a bundle that this broker has at boundaries inside it. Its topics notice nothing. Gives the parts.
    pub(crate) async fn split(&self, bundle: &Bundle, at: &[u32]) -> Result<Vec<Bundle>, SplitError> {
        if at.len() >= PARTS_MAX {
            return Err(SplitError::Boundaries);
        }
        if !self.shared.view.write().begin_split(bundle) {
            return Err(SplitError::NotHere(bundle.clone()));
        }
        let splitting = Splitting { shared: &self.shared, bundle };
        let outcome = self.shared.split(bundle, at).await;
        drop(splitting);
        self.shared.wake();
        outcome
    }
}

/// Ends what [`begin_split`](super::view::View::begin_split) began, also when it is dropped half way: then the news will tell.
struct Splitting<'a> {
    shared: &'a Shared,
    bundle: &'a Bundle,
}

impl Drop for Splitting<'_> {
    fn drop(&mut self) {
        self.shared.view.write().end_split(self.bundle);
    }
}

impl Shared {
    async fn split(&self, bundle: &Bundle, at: &[u32]) -> Result<Vec<Bundle>, SplitError> {
        let key = Key::from(keys::namespace(&bundle.namespace));
        let found = self.metadata.get(&key).await?.ok_or(OwnershipError::NamespaceNotFound)?;
        let corrupt = || Error::Corrupt { key: key.clone() };
        let mut record = NamespaceRecord::decode(found.value.clone()).map_err(|_| corrupt())?;
        let cut = Bundles::with_boundaries(&record.boundaries).ok_or_else(corrupt)?;
        let cut = cut.split(bundle.range, at).ok_or(SplitError::Boundaries)?;
        record.boundaries = cut.boundaries().to_vec();
        let ranges = cut.ranges().filter(|range| range.is_within(bundle.range));
        let parts: Vec<Bundle> = ranges.map(|range| Bundle { range, ..bundle.clone() }).collect();
        let Some(lease) = *self.lease.read() else {
            return Err(Error::Unavailable { reason: "this broker has no lease at the moment".into() }.into());
        };
        let (me, name) =
            (owner_record(&self.me), |bundle: &Bundle| keys::bundle(&bundle.namespace, &bundle.range.to_string()));
        let mut operations = vec![
            Operation::put(key, record.encode_to_vec(), Expect::Version(found.version)),
            Operation::delete(name(bundle), self.view.read().expect(bundle)),
        ];
        let put = |part| Operation::put_leased(name(part), me.encode_to_vec(), Expect::Absent, lease);
        operations.extend(parts.iter().map(put));
        match self.metadata.commit(Transaction::new(operations)).await {
            Ok(version) => {
                self.view.write().split(bundle, cut, &parts, &me, version);
                Ok(parts)
            }
            Err(Error::Conflict { .. }) => Err(SplitError::Overtaken(bundle.clone())),
            Err(Error::OutcomeUnknown) => self.look_again(bundle, &me, cut, parts).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a split happened after all.
    async fn look_again(
        &self,
        bundle: &Bundle,
        me: &proto::records::BundleOwner,
        cut: Bundles,
        parts: Vec<Bundle>,
    ) -> Result<Vec<Bundle>, SplitError> {
        let part = &parts[0];
        let key = Key::from(keys::bundle(&part.namespace, &part.range.to_string()));
        match self.metadata.get(&key).await? {
            Some(found) => {
                self.view.write().split(bundle, cut, &parts, me, found.version);
                Ok(parts)
            }
            None => Err(Error::OutcomeUnknown.into()),
        }
    }
}
