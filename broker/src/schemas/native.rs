//! A Protobuf schema: JSON of `fileDescriptorSet` (base64), `rootMessageTypeName` and `rootFileDescriptorName`.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::DescriptorPool;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    file_descriptor_set: String,
    root_message_type_name: String,
    root_file_descriptor_name: String,
}

/// The full name of the root message, once all descriptors were read and linked. `None`: they are no schema.
pub(super) fn root(data: &[u8]) -> Option<String> {
    let data: Data = serde_json::from_slice(data).ok()?;
    let set = STANDARD.decode(&data.file_descriptor_set).ok()?;
    let pool = DescriptorPool::decode(&set[..]).ok()?;
    let message = pool.get_message_by_name(&data.root_message_type_name)?;
    (message.parent_file().name() == data.root_file_descriptor_name).then(|| message.full_name().to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use prost::Message;
    use prost_reflect::prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};
    use serde_json::json;

    use super::*;

    /// A schema of a file with two messages.
    pub(in crate::schemas) fn sample(root: &str, file: &str) -> String {
        let message = |name: &str| DescriptorProto { name: Some(name.into()), ..Default::default() };
        let descriptor = FileDescriptorProto {
            name: Some("orders.proto".into()),
            package: Some("shop".into()),
            message_type: vec![message("Order"), message("Refund")],
            ..Default::default()
        };
        let set = STANDARD.encode(FileDescriptorSet { file: vec![descriptor] }.encode_to_vec());
        json!({"fileDescriptorSet": set, "rootMessageTypeName": root, "rootFileDescriptorName": file}).to_string()
    }

    #[test]
    fn descriptors_must_be_whole_and_name_their_root() {
        let root = |text: &str| root(text.as_bytes());
        assert_eq!(root(&sample("shop.Order", "orders.proto")).as_deref(), Some("shop.Order"));
        for bad in [
            sample("shop.Nothing", "orders.proto"),
            sample("shop.Order", "other.proto"),
            sample("shop.Order", "orders.proto").replace("fileDescriptorSet\":\"C", "fileDescriptorSet\":\"AAAA"),
            "{}".into(),
            "null".into(),
            "x".into(),
        ] {
            assert_eq!(root(&bad), None, "{bad}");
        }
    }
}
