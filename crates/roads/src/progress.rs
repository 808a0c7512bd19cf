//! How far an import is, for whoever shows it.

/// What an import is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reading the roads.
    Roads,
    /// Reading where the roads run.
    Places,
    /// Cutting the roads at their junctions, and keeping what can be reached.
    Joining,
    /// Ordering the junctions for quick searches.
    Ordering,
}

impl Phase {
    /// What is done, for people.
    pub fn words(self) -> &'static str {
        match self {
            Phase::Roads => "reading the roads",
            Phase::Places => "reading where they run",
            Phase::Joining => "joining them",
            Phase::Ordering => "ordering the junctions",
        }
    }
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportProgress {
    /// What it is doing.
    pub phase: Phase,
    /// How many bytes of the file it has read in this phase.
    pub done: u64,
    /// Of how many; 0 where nobody knows how long the phase takes.
    pub of: u64,
}

impl ImportProgress {
    /// A phase of unknown length begins.
    pub(crate) fn begins(phase: Phase) -> Self {
        Self {
            phase,
            done: 0,
            of: 0,
        }
    }
}

/// Who is told how far an import is.
pub type Told<'a> = &'a mut (dyn FnMut(ImportProgress) + Send);
