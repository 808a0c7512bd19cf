//! The sending half of a response stream: a bounded queue that never makes the sender wait. A client
//! too slow for it is told so and disconnected; memory does not grow with it.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use futures::{Stream, future::BoxFuture};
use jitney_proto::Code;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Where messages for one client go. Clones send to the same client; the stream ends once all are
/// dropped and what is queued was sent.
#[derive(Debug)]
pub struct Outbound<T> {
    queue: mpsc::Sender<T>,
    closing: Arc<Closing>,
}

#[derive(Debug, Default)]
struct Closing {
    now: CancellationToken,
    status: OnceLock<Status>,
}

impl<T> Clone for Outbound<T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            closing: Arc::clone(&self.closing),
        }
    }
}

/// A queue of at most `capacity` messages, and the stream that empties it.
pub fn outbound<T>(capacity: usize) -> (Outbound<T>, OutboundStream<T>) {
    let (sender, receiver) = mpsc::channel(capacity);
    let closing = Arc::<Closing>::default();
    let closed = Box::pin(closing.now.clone().cancelled_owned());
    let stream = OutboundStream {
        queue: receiver,
        closing: Arc::clone(&closing),
        closed,
        over: false,
    };
    (
        Outbound {
            queue: sender,
            closing,
        },
        stream,
    )
}

impl<T> Outbound<T> {
    /// Queues a message; whether there is still somebody to read it. When the queue is full the
    /// client is disconnected.
    pub fn send(&self, message: T) -> bool {
        if self.closing.now.is_cancelled() {
            return false;
        }
        match self.queue.try_send(message) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.close(Code::Overloaded.status(
                    "the client reads too slowly; connect again to go on from what it has taken in",
                ));
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Ends the stream with a status at once, whatever is still queued. The first status counts.
    pub fn close(&self, status: Status) {
        let _ = self.closing.status.set(status);
        self.closing.now.cancel();
    }

    /// Whether nobody reads any more.
    pub fn is_closed(&self) -> bool {
        self.closing.now.is_cancelled() || self.queue.is_closed()
    }

    /// Waits until nobody reads any more.
    pub async fn closed(&self) {
        tokio::select! {
            () = self.closing.now.cancelled() => {}
            () = self.queue.closed() => {}
        }
    }
}

/// The stream a client reads.
pub struct OutboundStream<T> {
    queue: mpsc::Receiver<T>,
    closing: Arc<Closing>,
    closed: BoxFuture<'static, ()>,
    over: bool,
}

impl<T> Stream for OutboundStream<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.closed.as_mut().poll(context).is_ready() {
            self.over = true;
            return Poll::Ready(self.closing.status.get().cloned().map(Err));
        }
        let next = self.queue.poll_recv(context);
        self.over = matches!(next, Poll::Ready(None));
        next.map(|message| message.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn what_was_queued_is_sent_before_the_end() {
        let (outbound, stream) = outbound(4);
        assert!(outbound.send(1) && outbound.clone().send(2));
        drop(outbound);
        let all: Vec<_> = stream.map(Result::unwrap).collect().await;
        assert_eq!(all, [1, 2]);
    }

    #[tokio::test]
    async fn a_slow_client_is_told_and_disconnected() {
        let (outbound, mut stream) = outbound(2);
        assert!(outbound.send(1) && outbound.send(2) && !outbound.send(3));
        assert!(outbound.is_closed() && !outbound.send(4));
        let status = stream.next().await.unwrap().unwrap_err();
        assert_eq!(Code::of(&status), Some(Code::Overloaded));
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn the_first_reason_to_close_counts() {
        let (outbound, mut stream) = outbound::<u8>(2);
        outbound.close(Code::Superseded.status("newer"));
        outbound.close(Code::Internal.status("later"));
        let status = stream.next().await.unwrap().unwrap_err();
        assert_eq!(Code::of(&status), Some(Code::Superseded));
        outbound.closed().await;
    }

    #[tokio::test]
    async fn a_client_that_left_is_noticed() {
        let (outbound, stream) = outbound(2);
        assert!(!outbound.is_closed());
        drop(stream);
        outbound.closed().await;
        assert!(outbound.is_closed() && !outbound.send(1));
    }
}
