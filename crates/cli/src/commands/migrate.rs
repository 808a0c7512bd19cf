//! `jitney migrate`: schemas up to date, nothing else. `jitney serve` does the same at its start.

use std::process::ExitCode;

use anyhow::Context;

use crate::{Config, program};

/// Migrates every schema.
pub fn run(config: Config) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        let (postgres, database) = program::open_database(&config).await?;
        for (schema, migrator) in [
            (jitney_matching::SCHEMA, &jitney_matching::MIGRATOR),
            (jitney_trips::SCHEMA, &jitney_trips::MIGRATOR),
            (jitney_billing::SCHEMA, &jitney_billing::MIGRATOR),
        ] {
            let pool = database
                .open(schema, migrator)
                .await
                .with_context(|| format!("schema {schema} cannot be migrated"))?;
            pool.close().await;
            println!("{schema}: {} migrations in place", migrator.iter().count());
        }
        if let Some(postgres) = postgres {
            postgres.stop().await?;
        }
        Ok(ExitCode::SUCCESS)
    })
}
