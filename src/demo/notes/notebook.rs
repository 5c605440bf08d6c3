//! Everybody's own notes.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::demo::people::Person;

/// Most notes one person has. A new one beyond that is refused.
const NOTES_MAX: usize = 200;

/// One note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What its owner knows it by.
    pub id: String,
    /// The title.
    pub title: String,
    /// The text.
    pub text: String,
}

impl Note {
    pub(super) fn summary(&self) -> Value {
        json!({ "id": self.id, "title": self.title })
    }

    pub(super) fn whole(&self) -> Value {
        json!({ "id": self.id, "title": self.title, "text": self.text })
    }
}

/// One person's notes, oldest first.
#[derive(Default)]
pub(super) struct Notebook {
    notes: Vec<Note>,
    next: usize,
}

/// Every notebook, by its owner's object id.
pub(super) type Notebooks = HashMap<String, Notebook>;

pub(super) fn notebooks(people: &[Person]) -> Notebooks {
    people.iter().map(|person| (person.oid.clone(), Notebook::of(person))).collect()
}

impl Notebook {
    fn of(person: &Person) -> Self {
        let mut notebook = Self::default();
        let notes: &[(&str, &str)] = if *person == Person::ada() {
            &[
                ("Failure budget", "The ingest pipeline has 21 minutes left this month."),
                ("Names for the new service", "Heron, Kingfisher, Dipper."),
            ]
        } else if *person == Person::bob() {
            &[
                ("Accruals to book", "Cloud hosting 41,200 EUR; Lisbon lease 9,800 EUR."),
                ("Questions for the auditors", "Which 25 payments, and by when?"),
                ("Travel", "Ada has 1,840 EUR left for Lisbon."),
            ]
        } else {
            &[]
        };
        for (title, text) in notes {
            notebook.write(title, text);
        }
        if notes.is_empty() {
            notebook.write("Welcome", &format!("These notes are {}'s alone.", person.name));
        }
        notebook
    }

    /// Keeps a note and gives its id, if there is room.
    pub(super) fn write(&mut self, title: &str, text: &str) -> Option<String> {
        if self.notes.len() == NOTES_MAX {
            return None;
        }
        self.next += 1;
        let id = format!("n{}", self.next);
        self.notes.push(Note { id: id.clone(), title: title.to_owned(), text: text.to_owned() });
        Some(id)
    }

    pub(super) fn read(&self, id: &str) -> Option<&Note> {
        self.notes.iter().find(|note| note.id == id)
    }

    /// Whether there was one to delete.
    pub(super) fn delete(&mut self, id: &str) -> bool {
        let before = self.notes.len();
        self.notes.retain(|note| note.id != id);
        self.notes.len() < before
    }

    pub(super) fn notes(&self) -> &[Note] {
        &self.notes
    }
}
