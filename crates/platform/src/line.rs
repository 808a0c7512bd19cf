//! Micro-batching: jobs that wait are done together. A job that comes while nothing is under way is done
//! at once; where several wait, because the database is busy with others, they become one statement
//! ([`Work::together`]), which costs the database far less than one for each. Nobody is answered before
//! the commit, and each is judged and answered on its own. Callers who were answered together are likely to
//! be back together, so their next batch is given a moment to become as large as the last one
//! ([`LineConfig::wait_max`]).
//!
//! The line is bounded: who comes when it is full is refused at once. Work is done in tasks of its own,
//! so a caller who goes away breaks nothing; one who has gone before their turn is left out.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opentelemetry::{KeyValue, metrics::Histogram};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use crate::telemetry::{link_both, meters};

/// How jobs that wait are done together. One that waits alone is done at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LineConfig {
    /// How many jobs are done together at most; 1 has each done alone, side by side.
    pub size_max: usize,
    /// After several were done together, how long the next wait until there are as many again: whoever
    /// was answered is likely to ask again at about the same time, and the first of them would else go
    /// alone. For example `1ms`; without, whatever waits is done as soon as a worker is free.
    #[serde(with = "humantime_serde")]
    pub wait_max: Duration,
    /// How many jobs may wait or be under way. Above that they are refused at once, to be tried again.
    pub queue_max: usize,
    /// How many batches are done side by side at most; each takes a connection.
    pub workers: usize,
    /// How many have to wait until another batch is begun beside one that is under way: a few go with the
    /// next, since two small batches cost the database more than one.
    pub beside_min: usize,
    /// How long a batch may be stuck, behind somebody's lock, until another one is done besides.
    #[serde(with = "humantime_serde")]
    pub stall_max: Duration,
}

impl Default for LineConfig {
    fn default() -> Self {
        Self {
            size_max: 50,
            wait_max: Duration::from_millis(1),
            queue_max: 2_000,
            workers: 2,
            beside_min: 8,
            stall_max: Duration::from_millis(100),
        }
    }
}

/// A setting of a line that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be between {least} and {most}, not {value}")]
pub struct LineConfigError {
    field: &'static str,
    least: String,
    most: String,
    value: String,
}

impl LineConfig {
    /// Checks every rule a type cannot hold.
    ///
    /// # Errors
    /// Names the first setting that cannot be.
    pub fn validate(&self) -> Result<(), LineConfigError> {
        for (field, value, most) in [
            ("size_max", self.size_max, 500),
            ("queue_max", self.queue_max, 1_000_000),
            ("workers", self.workers, 100),
            ("beside_min", self.beside_min, 1_000_000),
        ] {
            within(field, value, 1, most, |value| value.to_string())?;
        }
        let (none, tick) = (Duration::ZERO, Duration::from_millis(1));
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3_600));
        for (field, value, least, most) in [
            ("wait_max", self.wait_max, none, second),
            ("stall_max", self.stall_max, tick, hour),
        ] {
            within(field, value, least, most, |value| format!("{value:?}"))?;
        }
        Ok(())
    }
}

fn within<T: PartialOrd + Copy>(
    field: &'static str,
    value: T,
    least: T,
    most: T,
    text: impl Fn(&T) -> String,
) -> Result<(), LineConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(LineConfigError {
        field,
        least: text(&least),
        most: text(&most),
        value: text(&value),
    })
}

/// What one of several jobs comes to; `None` for one that has to be done alone.
pub type Together<W> = Option<Result<<W as Work>::Done, <W as Work>::Error>>;

/// What is done for those in a line.
pub trait Work: Send + Sync + 'static {
    /// What somebody asks for.
    type Job: Send + Sync + 'static;
    /// What they are answered.
    type Done: Send + 'static;
    /// Why they are not.
    type Error: From<sqlx::Error> + From<Arc<sqlx::Error>> + Send + 'static;

    /// What the line is called where it is measured.
    const NAME: &'static str = "line";

    /// What whoever comes to a full line is told.
    fn overloaded() -> Self::Error;

    /// Does one.
    fn alone(
        &self,
        job: &Self::Job,
    ) -> impl Future<Output = Result<Self::Done, Self::Error>> + Send;

    /// Does several, and answers them in their order.
    ///
    /// # Errors
    /// When none of them has happened, or the connection was lost and nobody knows.
    fn together(
        &self,
        jobs: &[&Self::Job],
    ) -> impl Future<Output = Result<Vec<Together<Self>>, sqlx::Error>> + Send
    where
        Self: Sized;
}

static BATCHES: LazyLock<Histogram<u64>> = LazyLock::new(|| {
    let what = "How many jobs were done together";
    meters::sizes("jitney.line.batch", "{job}", what)
});

/// Those who wait for one kind of work.
pub struct Line<W: Work> {
    work: W,
    config: LineConfig,
    tasks: TaskTracker,
    queue: Mutex<Queue<W>>,
    /// Poked when as many wait as a worker waits for.
    is_full: Notify,
}

/// Who waits, and who serves them.
struct Queue<W: Work> {
    waiting: VecDeque<Waiting<W>>,
    /// How many a worker waits for, if one does.
    wanted: Option<usize>,
    /// Workers at work; each ends when nobody waits.
    workers: usize,
    /// Jobs that are being done.
    under_way: usize,
}

/// A job and who waits for it.
struct Waiting<W: Work> {
    job: W::Job,
    span: Span,
    answer: oneshot::Sender<Result<W::Done, W::Error>>,
}

impl<W: Work> Waiting<W> {
    fn answer(self, answer: Result<W::Done, W::Error>) {
        // Whoever has gone away meanwhile asks again.
        let _ = self.answer.send(answer);
    }
}

impl<W: Work> Line<W> {
    /// A line for `work`; what is under way is among `tasks`.
    pub fn new(work: W, config: LineConfig, tasks: TaskTracker) -> Line<W> {
        Line {
            work,
            config,
            tasks,
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                wanted: None,
                workers: 0,
                under_way: 0,
            }),
            is_full: Notify::new(),
        }
    }

    /// Has a job done, alone or together with others that wait.
    ///
    /// # Errors
    /// Those of the work, and [`Work::overloaded`] when too many wait.
    pub async fn ask(self: &Arc<Self>, job: W::Job) -> Result<W::Done, W::Error> {
        if self.config.size_max == 1 {
            return self.work.alone(&job).await;
        }
        let (answer, answered) = oneshot::channel();
        self.put_in_line(Waiting {
            job,
            span: Span::current(),
            answer,
        })?;
        match answered.await {
            Ok(answer) => answer,
            // A worker panicked; whether it happened, asking again tells.
            Err(_) => Err(sqlx::Error::WorkerCrashed.into()),
        }
    }

    fn put_in_line(self: &Arc<Self>, waiting: Waiting<W>) -> Result<(), W::Error> {
        let mut queue = self.queue();
        if queue.waiting.len() + queue.under_way >= self.config.queue_max {
            return Err(W::overloaded());
        }
        queue.waiting.push_back(waiting);
        let waiting = queue.waiting.len();
        if queue.wanted.is_some_and(|wanted| waiting >= wanted) {
            self.is_full.notify_one();
        }
        // One that waits for more takes them all.
        let is_due = queue.wanted.is_none() && waiting >= self.config.beside_min;
        if queue.workers == 0 || (queue.workers < self.config.workers && is_due) {
            queue.workers += 1;
            drop(queue);
            let worker = Worker {
                line: Arc::clone(self),
                is_counted: true,
                last: 1,
            };
            self.tasks.spawn(worker.work());
        }
        Ok(())
    }

    fn queue(&self) -> MutexGuard<'_, Queue<W>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn do_together(self: &Arc<Self>, batch: Vec<Waiting<W>>) {
        let jobs: Vec<_> = batch.iter().map(|waiting| &waiting.job).collect();
        let span = tracing::info_span!(parent: None, "together", size = jobs.len());
        for waiting in &batch {
            link_both(&waiting.span, &span);
        }
        match self.work.together(&jobs).instrument(span).await {
            Ok(answers) => {
                for (waiting, answer) in batch.into_iter().zip(answers) {
                    match answer {
                        Some(answer) => waiting.answer(answer),
                        None => drop(self.start(vec![waiting])),
                    }
                }
            }
            // The database has refused the statement, and with it every one of them.
            Err(error @ sqlx::Error::Database(_)) => {
                tracing::info!(%error, size = batch.len(), "a batch is done one by one");
                for waiting in batch {
                    drop(self.start(vec![waiting]));
                }
            }
            // It cannot be reached: asking once for each would help nobody.
            Err(error) => {
                let error = Arc::new(error);
                for waiting in batch {
                    waiting.answer(Err(Arc::clone(&error).into()));
                }
            }
        }
    }

    /// Does them in a task of their own.
    fn start(self: &Arc<Self>, mut batch: Vec<Waiting<W>>) -> JoinHandle<()> {
        batch.retain(|waiting| !waiting.answer.is_closed());
        BATCHES.record(batch.len() as u64, &[KeyValue::new("line", W::NAME)]);
        let under_way = UnderWay::count(self, batch.len());
        self.tasks.spawn(async move {
            let line = &under_way.line;
            if batch.len() > 1 {
                line.do_together(batch).await;
            } else if let Some(waiting) = batch.pop() {
                line.do_alone(waiting).await;
            }
        })
    }

    async fn do_alone(&self, waiting: Waiting<W>) {
        if waiting.answer.is_closed() {
            return;
        }
        let done = self.work.alone(&waiting.job);
        let answer = done.instrument(waiting.span.clone()).await;
        waiting.answer(answer);
    }
}

/// Counts jobs as under way for as long as this lives.
struct UnderWay<W: Work> {
    line: Arc<Line<W>>,
    count: usize,
}

impl<W: Work> UnderWay<W> {
    fn count(line: &Arc<Line<W>>, count: usize) -> UnderWay<W> {
        line.queue().under_way += count;
        UnderWay {
            line: Arc::clone(line),
            count,
        }
    }
}

impl<W: Work> Drop for UnderWay<W> {
    fn drop(&mut self) {
        self.line.queue().under_way -= self.count;
    }
}

/// Serves the line until nobody waits.
struct Worker<W: Work> {
    line: Arc<Line<W>>,
    /// Whether the line counts this one as at work.
    is_counted: bool,
    /// How many it did together last.
    last: usize,
}

impl<W: Work> Worker<W> {
    async fn work(mut self) {
        while let Some(batch) = self.next().await {
            self.last = batch.len();
            let run = self.line.start(batch);
            // One that is stuck behind somebody's lock goes on without a worker.
            let _ = tokio::time::timeout(self.line.config.stall_max, run).await;
        }
    }

    /// Those whose turn it is: all there are, once they are as many as the last or have had time to come.
    /// None when nobody waits.
    async fn next(&mut self) -> Option<Vec<Waiting<W>>> {
        let config = &self.line.config;
        let wanted = self.last.min(config.size_max);
        let late = Instant::now() + config.wait_max;
        loop {
            {
                let mut queue = self.line.queue();
                let count = queue.waiting.len().min(config.size_max);
                if wanted == 1 || count >= wanted || late <= Instant::now() {
                    queue.wanted = None;
                    if count > 0 {
                        return Some(queue.waiting.drain(..count).collect());
                    }
                    // Under the lock: whoever comes next finds that a worker is missing.
                    queue.workers -= 1;
                    self.is_counted = false;
                    return None;
                }
                queue.wanted = Some(wanted);
            }
            tokio::select! {
                () = self.line.is_full.notified() => {}
                () = tokio::time::sleep_until(late) => {}
            }
        }
    }
}

impl<W: Work> Drop for Worker<W> {
    fn drop(&mut self) {
        // It panicked: let another take its place.
        if self.is_counted {
            self.line.queue().workers -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
