//! Captures that wait are run together ([`Line`]): a capture that comes alone is one statement, several
//! become one statement too ([`Store::capture_all`]).

use jitney_platform::line::{Line, Together, Work};

use crate::{
    Error,
    store::{Captured, Store, batch::Asked},
};

/// Runs captures.
pub type Captures = Line<Store>;

impl Work for Store {
    type Job = Asked;
    type Done = Captured;
    type Error = Error;

    const NAME: &'static str = "captures";

    fn overloaded() -> Error {
        Error::Overloaded
    }

    async fn alone(&self, asked: &Asked) -> Result<Captured, Error> {
        self.capture(&asked.key, &asked.capture).await
    }

    async fn together(&self, asked: &[&Asked]) -> Result<Vec<Together<Self>>, sqlx::Error> {
        self.capture_all(asked).await
    }
}
