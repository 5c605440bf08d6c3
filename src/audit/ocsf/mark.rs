//! A mark: class Base Event (0), since OCSF has no class for the life of a trail.

use serde::Serialize;

use super::Metadata;
use super::text::clean_owned;
use crate::audit::mark::{Happening, Mark};

/// The event that a mark is.
#[derive(Serialize)]
pub struct Event<'a> {
    class_uid: u32,
    class_name: &'static str,
    category_uid: u32,
    activity_id: u32,
    activity_name: &'static str,
    type_uid: u32,
    severity_id: u32,
    time: u64,
    message: String,
    unmapped: Unmapped<'a>,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
struct Unmapped<'a> {
    obo: &'a Happening,
}

impl<'a> Event<'a> {
    /// This mark.
    pub fn of(mark: &'a Mark) -> Self {
        Self {
            class_uid: 0,
            class_name: "Base Event",
            category_uid: 0,
            activity_id: 99,
            activity_name: mark.happening.name(),
            type_uid: 99,
            severity_id: if mark.happening.is_trouble() { 4 } else { 1 },
            time: u64::try_from(mark.at.as_millis()).unwrap_or(u64::MAX),
            message: clean_owned(mark.happening.to_string()).into_owned(),
            unmapped: Unmapped { obo: &mark.happening },
            metadata: Metadata::of(mark.id),
        }
    }
}
