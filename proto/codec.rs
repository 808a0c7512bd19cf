//! How messages become bytes: as Protobuf, with buffers that fit what is sent here.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::ProstCodec;

/// What a buffer begins with, bytes. Most messages are a few hundred; a larger one makes it grow. With
/// tonic's own 8 KiB a stream that waits for news would hold two such buffers at either end.
const BUFFER_BYTES: usize = 512;
/// How much is put together before it is sent, bytes; tonic's own choice.
const SENT_TOGETHER_BYTES: usize = 32 * 1024;

/// The buffers of every call.
pub fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, SENT_TOGETHER_BYTES)
}

/// Writes messages of type `T` and reads those of type `U`.
#[derive(Clone, Copy, Debug)]
pub struct Protobuf<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Protobuf<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Protobuf<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(buffers())
    }
}
