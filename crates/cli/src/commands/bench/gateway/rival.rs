//! Another gateway for the same routes: the program `structured-proxy`, in front of the same service.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::net::TcpStream;

use super::super::server::TempFolder;

/// How long it may take to begin.
const START_MAX: Duration = Duration::from_secs(10);

/// The program while it runs; it is stopped with this.
pub struct Rival {
    child: Child,
    _folder: TempFolder,
    /// Where it listens.
    pub address: String,
}

impl Rival {
    /// Starts `program` before the gRPC service at `uri`, for one rpc: of the routes with a custom verb
    /// version 7.0.0 cannot make any.
    ///
    /// # Errors
    /// When it cannot be started, or does not listen in time; what it says is on standard error.
    pub async fn start(program: &Path, uri: &str, rpc: &str) -> anyhow::Result<Rival> {
        let folder = TempFolder::named("rival");
        std::fs::create_dir_all(&folder.0)?;
        let descriptors = folder.0.join("jitney.fds.bin");
        std::fs::write(&descriptors, jitney_proto::FILE_DESCRIPTOR_SET)?;
        // Free a moment ago; nobody else on this machine is likely to take it now.
        let free = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = free.local_addr()?.to_string();
        drop(free);
        let config = folder.0.join("proxy.yaml");
        let text = format!(
            "upstream:\n  default: {uri:?}\ndescriptors:\n  - file: {descriptors:?}\n\
             listen:\n  http: {address:?}\n  idle_timeout_secs: 0\n\
             service:\n  name: \"bench\"\ntranscode:\n  only: [{rpc:?}]\n"
        );
        std::fs::write(&config, text)?;
        let child = Command::new(program)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        let mut rival = Rival {
            child,
            _folder: folder,
            address,
        };
        let begun = Instant::now();
        while TcpStream::connect(&rival.address).await.is_err() {
            if let Some(status) = rival.child.try_wait()? {
                bail!("{} ended at once: {status}", program.display());
            }
            if begun.elapsed() > START_MAX {
                bail!("{} does not listen at {}", program.display(), rival.address);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(rival)
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
