//! The Jitney API and nothing else: one module per Protobuf package, the descriptor set they were
//! made from, and the hand-written conversions that are the only way in and out of them.
//!
//! What an rpc does, who may call it and what it refuses is written in the `.proto` files.

pub mod code;
pub mod codec;
pub mod geo;
pub mod ids;
pub mod money;
pub mod time;

pub use code::Code;

#[allow(missing_docs, clippy::all)]
mod generated {
    pub mod common {
        pub mod v1 {
            tonic::include_proto!("jitney.common.v1");
        }
    }
    pub mod matching {
        pub mod v1 {
            tonic::include_proto!("jitney.matching.v1");
        }
    }
    pub mod trips {
        pub mod v1 {
            tonic::include_proto!("jitney.trips.v1");
        }
    }
    pub mod billing {
        pub mod v1 {
            tonic::include_proto!("jitney.billing.v1");
        }
    }
}

/// Types every package shares: points, money, roles.
pub mod common {
    pub use crate::generated::common::v1;
}
/// Who drives whom.
pub mod matching {
    pub use crate::generated::matching::v1;
}
/// Where every ride stands.
pub mod trips {
    pub use crate::generated::trips::v1;
}
/// Who owes whom.
pub mod billing {
    pub use crate::generated::billing::v1;
}

/// The encoded `FileDescriptorSet` of every package, with comments and with the options of our own.
/// gRPC reflection, the gateway's routes and the access rules come from it.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/jitney.fds.bin"));

/// The descriptors, decoded once.
///
/// # Panics
/// Never in a program that was built: the bytes are made by the build script.
pub fn descriptor_pool() -> prost_reflect::DescriptorPool {
    static POOL: std::sync::LazyLock<prost_reflect::DescriptorPool> =
        std::sync::LazyLock::new(|| {
            prost_reflect::DescriptorPool::decode(FILE_DESCRIPTOR_SET)
                .expect("the build script wrote a valid descriptor set")
        });
    POOL.clone()
}
