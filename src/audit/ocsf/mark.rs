//! A mark: class Base Event (0), since OCSF has no class for the life of a trail.

use std::borrow::Cow;

use serde::Serialize;

use super::Metadata;
use super::parts::milliseconds;
use super::text::Texts;
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
    type_name: &'static str,
    severity_id: u32,
    time: u64,
    message: Cow<'static, str>,
    unmapped: Unmapped<'a>,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
struct Unmapped<'a> {
    obo: Cow<'a, Happening>,
}

impl<'a> Event<'a> {
    /// This mark.
    pub fn of(mark: &'a Mark) -> Self {
        let texts = Texts::default();
        let happening = match &mark.happening {
            Happening::SinkTrouble { error, lasted_ms, failures } => {
                let error = texts.text(error).into_owned();
                Cow::Owned(Happening::SinkTrouble { error, lasted_ms: *lasted_ms, failures: *failures })
            }
            happening => Cow::Borrowed(happening),
        };
        let message = texts.made(mark.happening.to_string());
        Self {
            class_uid: 0,
            class_name: "Base Event",
            category_uid: 0,
            activity_id: 99,
            activity_name: mark.happening.name(),
            type_uid: 99,
            type_name: "Base Event: Other",
            severity_id: if mark.happening.is_trouble() { 4 } else { 1 },
            time: milliseconds(mark.at),
            message,
            unmapped: Unmapped { obo: happening },
            metadata: Metadata::of(mark.id, &texts),
        }
    }
}
