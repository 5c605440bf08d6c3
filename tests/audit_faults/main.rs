//! That no record is lost which an agent was answered for: shown on the program itself, while its disk fills up and fails, while its
//! files are moved away, and while it is killed.
//!
//! ```text
//! AUDIT_FAULTS_KILLS=200 cargo test --test audit_faults -- --nocapture
//! ```

mod bed;
mod faults;
mod load;
mod small_disk;
mod trail;

mod failing_disk;
mod full_disk;
mod kills;
mod moved_files;
mod published;
