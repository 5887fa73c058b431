//! What every store refuses alike, before it does anything.
use std::collections::HashSet;
use std::time::Duration;

use crate::store::{Error, Key, Operation, Transaction};

/// The most records a caller may ask for at once.
pub(crate) const LIST_LIMIT_MAX: usize = 1000;

/// Shorter leases would end with any hiccup.
const TTL_MIN: Duration = Duration::from_secs(1);

fn refused(reason: String) -> Error {
    Error::Refused { reason }
}

/// Sizes and shape of a transaction.
pub(crate) fn check_transaction(transaction: &Transaction) -> Result<(), Error> {
    let operations = &transaction.operations;
    if Transaction::OPERATIONS_MAX < operations.len() {
        return Err(refused(format!(
            "a transaction of {} operations, of which {} are allowed",
            operations.len(),
            Transaction::OPERATIONS_MAX
        )));
    }
    let mut seen = HashSet::with_capacity(operations.len());
    let mut total = 0;
    for operation in operations {
        let key = operation.key();
        check_key(key)?;
        if !seen.insert(key) {
            return Err(refused(format!("two operations on `{key}` in one transaction")));
        }
        let value = match operation {
            Operation::Put { value, .. } => value.len(),
            Operation::Delete { .. } | Operation::Check { .. } => 0,
        };
        if Operation::VALUE_BYTES_MAX < value {
            return Err(refused(format!(
                "a value of {value} bytes under `{key}`, of which {} are allowed",
                Operation::VALUE_BYTES_MAX
            )));
        }
        total += value + 3 * key.as_str().len();
    }
    if Transaction::BYTES_MAX < total {
        return Err(refused(format!(
            "a transaction of {total} bytes, of which {} are allowed",
            Transaction::BYTES_MAX
        )));
    }
    Ok(())
}

/// A key that can be stored.
pub(crate) fn check_key(key: &Key) -> Result<(), Error> {
    match key.as_str().len() {
        0 => Err(refused("an empty key".into())),
        length if Key::BYTES_MAX < length => {
            Err(refused(format!("a key of {length} bytes, of which {} are allowed", Key::BYTES_MAX)))
        }
        _ => Ok(()),
    }
}

/// How many records a page may have.
pub(crate) fn check_limit(limit: usize) -> Result<(), Error> {
    if (1..=LIST_LIMIT_MAX).contains(&limit) {
        Ok(())
    } else {
        Err(refused(format!("a page of {limit} records, of which 1 to {LIST_LIMIT_MAX} are allowed")))
    }
}

/// How long a lease lasts.
pub(crate) fn check_ttl(ttl: Duration) -> Result<(), Error> {
    if TTL_MIN <= ttl { Ok(()) } else { Err(refused(format!("a lease of {ttl:?}, which must last 1 s at least"))) }
}
