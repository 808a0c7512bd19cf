//! The comments of the proto files, by what they stand before.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, FieldDescriptor, FileDescriptor, MessageDescriptor};

/// Every leading comment.
pub(super) struct Comments {
    by_path: HashMap<(String, Vec<i32>), String>,
    by_rpc: HashMap<String, String>,
}

impl Comments {
    pub(super) fn of(pool: &DescriptorPool) -> Comments {
        let mut by_path = HashMap::new();
        for file in pool.files() {
            let proto = file.file_descriptor_proto();
            let locations = proto
                .source_code_info
                .iter()
                .flat_map(|info| &info.location);
            for location in locations {
                if let Some(comment) = &location.leading_comments {
                    let key = (file.name().to_owned(), location.path.clone());
                    by_path.insert(key, unwrapped(comment));
                }
            }
        }
        let mut comments = Comments {
            by_path,
            by_rpc: HashMap::new(),
        };
        for method in pool
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
        {
            let file = method.parent_service().parent_file();
            let text = comments.of_path(&file, method.path());
            comments.by_rpc.insert(method.full_name().to_owned(), text);
        }
        comments
    }

    pub(super) fn of_path(&self, file: &FileDescriptor, path: &[i32]) -> String {
        let key = (file.name().to_owned(), path.to_vec());
        self.by_path.get(&key).cloned().unwrap_or_default()
    }

    pub(super) fn of_rpc(&self, name: &str) -> String {
        self.by_rpc.get(name).cloned().unwrap_or_default()
    }

    pub(super) fn of_field(&self, field: &FieldDescriptor) -> String {
        self.of_path(&field.parent_message().parent_file(), field.path())
    }

    pub(super) fn of_message(&self, message: &MessageDescriptor) -> String {
        self.of_path(&message.parent_file(), message.path())
    }
}

/// Lines that were broken for the proto file's sake are joined; paragraphs stay.
fn unwrapped(comment: &str) -> String {
    let mut text = String::new();
    for line in comment.lines().map(str::trim) {
        if line.is_empty() {
            text.push_str("\n\n");
        } else {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push(' ');
            }
            text.push_str(line);
        }
    }
    text.trim().to_owned()
}
