//! Captures that wait are run together. A capture that comes alone is run at once, as one statement;
//! where several wait, because the database is busy with others, they become one statement too
//! ([`Store::capture_all`]), which costs the database far less than one for each. Nobody is answered
//! before the commit, and each is judged and answered on its own.
//!
//! The line is bounded: who comes when it is full is refused at once. Statements run in tasks of
//! their own, so a caller who goes away breaks nothing; one who has gone before their turn is left
//! out.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use crate::{
    Error,
    config::BatchConfig,
    hold::CaptureOf,
    idempotency::Key,
    store::{Captured, Store, batch::Asked},
};

/// Runs captures.
pub struct Captures {
    store: Store,
    config: BatchConfig,
    tasks: TaskTracker,
    line: Mutex<Line>,
    /// Poked when a statement can be filled.
    is_full: Notify,
}

/// Who waits, and who serves them.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    /// Workers at work; each ends when nobody waits.
    workers: usize,
    /// Captures that are run.
    under_way: usize,
}

/// A capture and who waits for it.
struct Waiting {
    asked: Asked,
    since: Instant,
    span: Span,
    answer: oneshot::Sender<Result<Captured, Error>>,
}

impl Waiting {
    fn answer(self, answer: Result<Captured, Error>) {
        // Whoever has gone away meanwhile asks again under the same key.
        let _ = self.answer.send(answer);
    }
}

impl Captures {
    /// Runs captures in `store`; what is under way is among `tasks`.
    pub fn new(store: Store, config: BatchConfig, tasks: TaskTracker) -> Captures {
        Captures {
            store,
            config,
            tasks,
            line: Mutex::default(),
            is_full: Notify::new(),
        }
    }

    /// Takes a held fare, alone or together with others that wait.
    ///
    /// # Errors
    /// Those of [`Store::capture`], and [`Error::Overloaded`] when too many wait.
    pub async fn capture(self: &Arc<Self>, key: Key, asked: CaptureOf) -> Result<Captured, Error> {
        if self.config.size_max == 1 {
            return self.store.capture(&key, &asked).await;
        }
        let (answer, answered) = oneshot::channel();
        self.put_in_line(Waiting {
            asked: Asked {
                key,
                capture: asked,
            },
            since: Instant::now(),
            span: Span::current(),
            answer,
        })?;
        match answered.await {
            Ok(answer) => answer,
            // A worker panicked; whether it happened, the same key tells.
            Err(_) => Err(sqlx::Error::WorkerCrashed.into()),
        }
    }

    fn put_in_line(self: &Arc<Self>, waiting: Waiting) -> Result<(), Error> {
        let mut line = self.line();
        if line.waiting.len() + line.under_way >= self.config.queue_max {
            return Err(Error::Overloaded);
        }
        line.waiting.push_back(waiting);
        if line.waiting.len() >= self.config.size_max {
            self.is_full.notify_one();
        }
        if line.workers < self.config.workers {
            line.workers += 1;
            drop(line);
            let worker = Worker {
                captures: Arc::clone(self),
                is_counted: true,
            };
            self.tasks.spawn(worker.work());
        }
        Ok(())
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs several as one statement.
    async fn run_together(self: &Arc<Self>, batch: Vec<Waiting>) {
        let asked: Vec<_> = batch.iter().map(|waiting| waiting.asked.clone()).collect();
        let span = tracing::info_span!("captures", size = asked.len());
        match self.store.capture_all(&asked).instrument(span).await {
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
                tracing::info!(%error, size = batch.len(), "captures are run one by one");
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

    /// Runs them in a task of their own.
    fn start(self: &Arc<Self>, mut batch: Vec<Waiting>) -> JoinHandle<()> {
        batch.retain(|waiting| !waiting.answer.is_closed());
        let under_way = UnderWay::count(self, batch.len());
        self.tasks.spawn(async move {
            let captures = &under_way.captures;
            if batch.len() > 1 {
                captures.run_together(batch).await;
            } else if let Some(waiting) = batch.pop() {
                captures.run_alone(waiting).await;
            }
        })
    }

    async fn run_alone(&self, waiting: Waiting) {
        if waiting.answer.is_closed() {
            return;
        }
        let Asked { key, capture } = &waiting.asked;
        let captured = self.store.capture(key, capture);
        let answer = captured.instrument(waiting.span.clone()).await;
        waiting.answer(answer);
    }
}

/// Counts captures as under way for as long as this lives.
struct UnderWay {
    captures: Arc<Captures>,
    count: usize,
}

impl UnderWay {
    fn count(captures: &Arc<Captures>, count: usize) -> UnderWay {
        captures.line().under_way += count;
        UnderWay {
            captures: Arc::clone(captures),
            count,
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.captures.line().under_way -= self.count;
    }
}

/// Serves the line until nobody waits.
struct Worker {
    captures: Arc<Captures>,
    /// Whether the line counts this one as at work.
    is_counted: bool,
}

impl Worker {
    async fn work(mut self) {
        while let Some(batch) = self.next().await {
            let run = self.captures.start(batch);
            // One that is stuck behind somebody's lock goes on without a worker.
            let _ = tokio::time::timeout(self.captures.config.stall_max, run).await;
        }
    }

    /// Those whose turn it is: the one who waits alone, or as many as there are once a statement is
    /// full or the first of them has waited for long enough. None when nobody waits.
    async fn next(&mut self) -> Option<Vec<Waiting>> {
        let config = &self.captures.config;
        loop {
            let full_or_late = {
                let mut line = self.captures.line();
                let Some(first) = line.waiting.front() else {
                    // Under the lock: whoever comes next finds that a worker is missing.
                    line.workers -= 1;
                    self.is_counted = false;
                    return None;
                };
                let (count, late) = (line.waiting.len(), first.since + config.wait_max);
                if count == 1 || count >= config.size_max || late <= Instant::now() {
                    let count = count.min(config.size_max);
                    return Some(line.waiting.drain(..count).collect());
                }
                late
            };
            tokio::select! {
                () = self.captures.is_full.notified() => {}
                () = tokio::time::sleep_until(full_or_late) => {}
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It panicked: let another take its place.
        if self.is_counted {
            self.captures.line().workers -= 1;
        }
    }
}
