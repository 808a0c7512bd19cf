//! Calls to the services behind, with messages the gateway knows only by their descriptors.

use std::{collections::HashMap, fmt, time::Duration};

use anyhow::{Result, bail};
use bytes::{Buf, Bytes};
use futures::Stream;
use jitney_platform::client::Channel;
use jitney_proto::Code;
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::route::{Routes, Rpc};

/// Which channel serves which proto service.
#[derive(Clone)]
pub struct Upstream {
    by_service: HashMap<String, Channel>,
    answer_bytes_max: usize,
}

impl Upstream {
    /// Pairs every service that has routes with the channel of its proto package. Fails, naming the
    /// service, where there is none.
    pub fn new(
        routes: &Routes,
        by_package: &HashMap<&'static str, Channel>,
        answer_bytes_max: usize,
    ) -> Result<Upstream> {
        let mut by_service = HashMap::new();
        for binding in routes.all() {
            let service = &binding.rpc.service;
            let package = service.rsplit_once('.').map_or("", |(package, _)| package);
            let Some(channel) = by_package.get(package) else {
                bail!("{service} has routes, and no channel serves the package {package}");
            };
            by_service.insert(service.clone(), channel.clone());
        }
        Ok(Upstream {
            by_service,
            answer_bytes_max,
        })
    }

    /// The services and their channels.
    pub fn services(&self) -> impl Iterator<Item = (&str, &Channel)> {
        self.by_service
            .iter()
            .map(|(service, channel)| (service.as_str(), channel))
    }

    /// One message each way, within `timeout`. The answer is as it came: [`read`] it, or write it on.
    pub async fn unary(
        &self,
        rpc: &Rpc,
        mut request: Request<DynamicMessage>,
        timeout: Duration,
    ) -> Result<Bytes, Status> {
        request.set_timeout(timeout);
        let mut client = self.client(rpc)?;
        within(timeout, async {
            ready(&mut client).await?;
            client
                .unary(request, rpc.path.clone(), Dynamic(Unread))
                .await
        })
        .await
        .map(tonic::Response::into_inner)
    }

    /// One message up, many down. `timeout` is for the stream to begin.
    pub async fn server_stream(
        &self,
        rpc: &Rpc,
        request: Request<DynamicMessage>,
        timeout: Duration,
    ) -> Result<Streaming<DynamicMessage>, Status> {
        let mut client = self.client(rpc)?;
        within(timeout, async {
            ready(&mut client).await?;
            client
                .server_streaming(request, rpc.path.clone(), Dynamic::of(rpc))
                .await
        })
        .await
        .map(tonic::Response::into_inner)
    }

    /// Many up, and one down when the service has all it wants.
    pub async fn client_stream(
        &self,
        rpc: &Rpc,
        request: Request<impl Stream<Item = DynamicMessage> + Send + 'static>,
    ) -> Result<DynamicMessage, Status> {
        let mut client = self.client(rpc)?;
        ready(&mut client).await?;
        let answer = client
            .client_streaming(request, rpc.path.clone(), Dynamic::of(rpc))
            .await?;
        Ok(answer.into_inner())
    }

    /// Many each way. The service may answer only after the first message, so there is no time-out.
    pub async fn both_ways(
        &self,
        rpc: &Rpc,
        request: Request<impl Stream<Item = DynamicMessage> + Send + 'static>,
    ) -> Result<Streaming<DynamicMessage>, Status> {
        let mut client = self.client(rpc)?;
        ready(&mut client).await?;
        let answer = client
            .streaming(request, rpc.path.clone(), Dynamic::of(rpc))
            .await?;
        Ok(answer.into_inner())
    }

    /// The channel that serves an rpc.
    pub fn channel(&self, rpc: &Rpc) -> Result<Channel, Status> {
        self.by_service
            .get(&rpc.service)
            .cloned()
            .ok_or_else(|| Code::Unavailable.status(format!("nothing serves {}", rpc.service)))
    }

    fn client(&self, rpc: &Rpc) -> Result<Grpc<Channel>, Status> {
        let channel = self.channel(rpc)?;
        Ok(Grpc::new(channel).max_decoding_message_size(self.answer_bytes_max))
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_service.keys()).finish()
    }
}

async fn ready(client: &mut Grpc<Channel>) -> Result<(), Status> {
    client.ready().await.map_err(Status::from_error)
}

/// The time-out is kept here too: a service that hangs does not look at its deadline.
async fn within<T>(
    timeout: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    tokio::time::timeout(timeout, call)
        .await
        .unwrap_or_else(|_| {
            let told = format!("no answer within {} s", timeout.as_secs_f64());
            Err(Code::DeadlineExceeded.status(told))
        })
}

/// Reads an answer.
pub fn read(output: &MessageDescriptor, answer: impl Buf) -> Result<DynamicMessage, Status> {
    DynamicMessage::decode(output.clone(), answer)
        .map_err(|error| Status::internal(error.to_string()))
}

/// A codec for messages known by their descriptors only; how answers are read is its decoder's.
#[derive(Clone, Debug)]
struct Dynamic<D>(D);

impl Dynamic<Reader> {
    fn of(rpc: &Rpc) -> Self {
        Dynamic(Reader {
            output: rpc.output.clone(),
        })
    }
}

impl<D> Codec for Dynamic<D>
where
    D: Decoder<Item: Send, Error = Status> + Clone + Send + 'static,
{
    type Encode = DynamicMessage;
    type Decode = D::Item;
    type Encoder = Writer;
    type Decoder = D;

    fn encoder(&mut self) -> Writer {
        Writer
    }

    fn decoder(&mut self) -> D {
        self.0.clone()
    }
}

#[derive(Debug)]
struct Writer;

impl Encoder for Writer {
    type Item = DynamicMessage;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        jitney_proto::codec::buffers()
    }

    fn encode(&mut self, message: DynamicMessage, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message
            .encode(into)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

/// As messages.
#[derive(Clone, Debug)]
struct Reader {
    output: MessageDescriptor,
}

impl Decoder for Reader {
    type Item = DynamicMessage;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        jitney_proto::codec::buffers()
    }

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        read(&self.output, from).map(Some)
    }
}

/// As they came.
#[derive(Clone, Copy, Debug)]
struct Unread;

impl Decoder for Unread {
    type Item = Bytes;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        jitney_proto::codec::buffers()
    }

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_service_that_nothing_serves_is_named_at_start() {
        let routes = Routes::from_descriptors(&jitney_proto::descriptor_pool()).unwrap();
        let channel = Channel::remote("http://127.0.0.1:9").unwrap();
        let most = HashMap::from([
            ("jitney.matching.v1", channel.clone()),
            ("jitney.trips.v1", channel),
        ]);
        let error = Upstream::new(&routes, &most, 1).unwrap_err().to_string();
        assert!(
            error.contains("jitney.billing.v1.BillingService"),
            "{error}"
        );
    }
}
