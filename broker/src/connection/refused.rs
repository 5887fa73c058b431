//! Commands that are recognised and not served: each gets an answer of the kind that its sender waits for.
use bytes::Bytes;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use proto::pulsar::base_command::Type;
use proto::pulsar::{
    BaseCommand, CommandAddPartitionToTxnResponse, CommandAddSubscriptionToTxnResponse,
    CommandEndTxnOnPartitionResponse, CommandEndTxnOnSubscriptionResponse, CommandEndTxnResponse,
    CommandNewTxnResponse, CommandTcClientConnectResponse, ServerError,
};

use super::session::{Closed, Session};

const NO_TRANSACTIONS: &str = "Transactions are not enabled.";

macro_rules! no_transactions {
    ($response:ident, $command:expr) => {
        BaseCommand::from($response {
            request_id: $command.as_ref().map_or(u64::MAX, |command| command.request_id),
            error: Some(ServerError::NotAllowedError.into()),
            message: Some(NO_TRANSACTIONS.into()),
            ..Default::default()
        })
    };
}

impl Session {
    pub(super) fn refuse(&mut self, kind: Type, command: &BaseCommand, bytes: &Bytes) -> Result<(), Closed> {
        let answer = match kind {
            Type::NewTxn => no_transactions!(CommandNewTxnResponse, command.new_txn),
            Type::AddPartitionToTxn => {
                no_transactions!(CommandAddPartitionToTxnResponse, command.add_partition_to_txn)
            }
            Type::AddSubscriptionToTxn => {
                no_transactions!(CommandAddSubscriptionToTxnResponse, command.add_subscription_to_txn)
            }
            Type::EndTxn => no_transactions!(CommandEndTxnResponse, command.end_txn),
            Type::EndTxnOnPartition => {
                no_transactions!(CommandEndTxnOnPartitionResponse, command.end_txn_on_partition)
            }
            Type::EndTxnOnSubscription => {
                no_transactions!(CommandEndTxnOnSubscriptionResponse, command.end_txn_on_subscription)
            }
            Type::TcClientConnectRequest => BaseCommand::from(CommandTcClientConnectResponse {
                request_id: command.tc_client_connect_request.as_ref().map_or(u64::MAX, |asked| asked.request_id),
                error: Some(ServerError::NotAllowedError.into()),
                message: Some(NO_TRANSACTIONS.into()),
            }),
            Type::AuthResponse => return Ok(()), // Nobody asked; nothing is checked.
            kind if 70 <= kind as i32 => {
                self.refuse_unknown(kind as i32, bytes);
                return Ok(());
            }
            _ => return Err(Closed::Protocol("a command that only a server sends")),
        };
        self.outbox.push(|push| push.command(&answer));
        Ok(())
    }

    /// A command of a later protocol.
    pub(super) fn refuse_unknown(&mut self, kind: i32, bytes: &Bytes) {
        let request_id = request_id_of(bytes.clone()).unwrap_or(u64::MAX);
        self.error(request_id, ServerError::NotAllowedError, format!("Command {kind} is not supported"));
    }
}

/// The first number of the body, where requests carry their id. The body is whichever message the command holds.
fn request_id_of(mut command: Bytes) -> Option<u64> {
    while !command.is_empty() {
        let (tag, wire) = decode_key(&mut command).ok()?;
        if wire != WireType::LengthDelimited {
            skip_field(wire, tag, &mut command, DecodeContext::default()).ok()?;
            continue;
        }
        let size = usize::try_from(decode_varint(&mut command).ok()?).ok()?;
        let mut body = (size <= command.len()).then(|| command.split_to(size))?;
        let (tag, wire) = decode_key(&mut body).ok()?;
        return (tag == 1 && wire == WireType::Varint).then(|| decode_varint(&mut body).ok())?;
    }
    None
}
