//! Rows or tables that somebody else has locked: statements of the service queue before them, where the
//! test sees them, and go on when it says so. That is how tests order what happens at once.

use jitney_platform::testing::eventually;
use sqlx::{PgPool, Postgres, Transaction};

use super::City;

/// Closed until it is opened.
pub struct Barrier {
    holder: Transaction<'static, Postgres>,
    watcher: PgPool,
}

impl City {
    /// Closes what a statement locks.
    pub async fn barrier(&self, locking: &'static str) -> Barrier {
        let mut holder = self.pool.begin().await.expect("a connection");
        sqlx::query(locking)
            .execute(&mut *holder)
            .await
            .expect("the lock");
        Barrier {
            holder,
            watcher: self.pool.clone(),
        }
    }

    /// Waits until every process has looked for rides that are not searched for, and has begun what it
    /// found missing. A process that looks keeps or asks for the lease first: one that was seen to do
    /// so twice has looked in between. The third time is for what it began then.
    pub async fn recovered(&self) {
        for _ in 0..3 {
            let barrier = self
                .barrier("SELECT 1 FROM lease WHERE name = 'searches' FOR UPDATE")
                .await;
            barrier.queue("hold_lease", self.processes.len()).await;
            barrier.pass("hold_lease").await;
        }
    }
}

impl Barrier {
    /// Waits until so many statements of a name wait.
    pub async fn queue(&self, name: &str, waiting: usize) {
        eventually(&format!("{waiting} times {name} waiting"), async || {
            let queued = count(&self.watcher, name, "wait_event_type = 'Lock'").await;
            queued >= waiting
        })
        .await;
    }

    /// Takes back what was written, and with it lets everybody through.
    pub async fn undo(self) {
        self.holder.rollback().await.expect("the locks go");
    }

    /// Lets everybody through.
    pub async fn open(self) {
        self.holder.commit().await.expect("the locks go");
    }

    /// Lets everybody through and waits until the statements of a name have run.
    pub async fn pass(self, name: &str) {
        let watcher = self.watcher.clone();
        self.open().await;
        eventually(&format!("the end of {name}"), async || {
            count(&watcher, name, "state = 'active'").await == 0
        })
        .await;
    }
}

/// Statements of a name in a condition.
async fn count(watcher: &PgPool, name: &str, condition: &'static str) -> usize {
    let statement = format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND query LIKE '-- ' || $1 || ':%' AND {condition}"
    );
    let number: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
        .bind(name)
        .fetch_one(watcher)
        .await
        .expect("a count");
    usize::try_from(number).expect("a count")
}
