//! Who is done together with whom, and who waits for whom.

use tokio::{sync::Semaphore, task::yield_now};

use super::*;

/// Notes how many it does together, each time somebody lets it.
struct Noting {
    sizes: Mutex<Vec<usize>>,
    turns: Semaphore,
}

#[derive(Debug)]
struct Failed;

impl From<sqlx::Error> for Failed {
    fn from(_: sqlx::Error) -> Failed {
        Failed
    }
}

impl From<Arc<sqlx::Error>> for Failed {
    fn from(_: Arc<sqlx::Error>) -> Failed {
        Failed
    }
}

impl Noting {
    async fn note(&self, size: usize) {
        self.turns
            .acquire()
            .await
            .expect("it is not closed")
            .forget();
        self.sizes.lock().expect("nobody panics").push(size);
    }
}

impl Work for Noting {
    type Job = ();
    type Done = ();
    type Error = Failed;

    fn overloaded() -> Failed {
        Failed
    }

    async fn alone(&self, (): &()) -> Result<(), Failed> {
        self.note(1).await;
        Ok(())
    }

    async fn together(&self, jobs: &[&()]) -> Result<Vec<Together<Self>>, sqlx::Error> {
        self.note(jobs.len()).await;
        Ok(jobs.iter().map(|()| Some(Ok(()))).collect())
    }
}

fn line(config: LineConfig) -> Arc<Line<Noting>> {
    let noting = Noting {
        sizes: Mutex::default(),
        turns: Semaphore::new(0),
    };
    Arc::new(Line::new(noting, config, TaskTracker::new()))
}

fn ask(line: &Arc<Line<Noting>>, jobs: usize) -> Vec<JoinHandle<Result<(), Failed>>> {
    let ask = |_| {
        let line = Arc::clone(line);
        tokio::spawn(async move { line.ask(()).await })
    };
    (0..jobs).map(ask).collect()
}

/// Lets every other task go as far as it can.
async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

fn sizes(line: &Line<Noting>) -> Vec<usize> {
    line.work.sizes.lock().expect("nobody panics").clone()
}

#[tokio::test]
async fn those_who_were_answered_together_go_together_again() {
    let wait_max = Duration::from_millis(500);
    let line = line(LineConfig {
        workers: 1,
        wait_max,
        stall_max: Duration::from_secs(60),
        ..LineConfig::default()
    });
    let mut first = ask(&line, 1);
    settle().await;
    first.extend(ask(&line, 3));
    settle().await;
    line.work.turns.add_permits(2);
    futures::future::join_all(first).await;
    assert_eq!(sizes(&line), [1, 3], "the first has nobody to wait for");

    line.work.turns.add_permits(9);
    let two = ask(&line, 2);
    settle().await;
    assert_eq!(sizes(&line), [1, 3], "a third is to be expected");
    let third = ask(&line, 1);
    futures::future::join_all(two.into_iter().chain(third)).await;
    assert_eq!(sizes(&line), [1, 3, 3]);

    let asked = Instant::now();
    futures::future::join_all(ask(&line, 2)).await;
    assert!(asked.elapsed() >= wait_max, "the third does not come");
    assert_eq!(sizes(&line), [1, 3, 3, 2]);
}

#[tokio::test]
async fn without_a_wait_nobody_waits() {
    let line = line(LineConfig {
        workers: 1,
        wait_max: Duration::ZERO,
        ..LineConfig::default()
    });
    let mut first = ask(&line, 1);
    settle().await;
    first.extend(ask(&line, 3));
    settle().await;
    line.work.turns.add_permits(9);
    futures::future::join_all(first).await;
    futures::future::join_all(ask(&line, 1)).await;
    assert_eq!(sizes(&line), [1, 3, 1]);
}

#[tokio::test]
async fn a_second_batch_is_begun_only_when_enough_wait() {
    let line = line(LineConfig {
        workers: 2,
        beside_min: 3,
        wait_max: Duration::ZERO,
        stall_max: Duration::from_secs(60),
        ..LineConfig::default()
    });
    let under_way = || line.queue().under_way;
    let mut asked = ask(&line, 1);
    settle().await;
    asked.extend(ask(&line, 2));
    settle().await;
    assert_eq!(under_way(), 1, "two go with the next");
    asked.extend(ask(&line, 1));
    settle().await;
    assert_eq!(under_way(), 4, "three are worth a batch");
    asked.extend(ask(&line, 5));
    settle().await;
    assert_eq!(under_way(), 4, "there are two workers");
    line.work.turns.add_permits(3);
    futures::future::join_all(asked).await;
    assert_eq!(sizes(&line), [1, 3, 5]);
}
