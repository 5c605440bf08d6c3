//! The reading side of the audit trail: whether it is whole, what is in it, and what one person's calls were.
//!
//! A trail is read line by line, in the order of its chain: closed files first, compressed or not, then the one that is being
//! written. Nothing of it is kept but what is asked for, so that a trail of any length fits. What is read was perhaps changed by
//! somebody: nothing in it is trusted, and nothing of it reaches a terminal raw.

pub mod filter;
pub mod keys;
mod lines;
pub mod query;
pub mod record;
pub mod report;
pub mod scan;
mod source;
pub mod stats;
pub mod tail;
mod terminal;
mod times;
pub mod verify;

pub use source::{Trail, TrailError};
pub use terminal::{Progress, paint};
pub use times::{date_time, parse_time};
