//! Push notifications of older dialects: the whole task, under the name its client knows it by.

use super::dialect::{v01, v03};
use crate::task::{Dialect, Json, Task};

/// Writes a task in the dialect of a receiver; `alias` is the name an early client gave it.
#[must_use]
pub fn old_task(dialect: Dialect, task: &Task, alias: Option<&str>) -> Json {
    match dialect {
        Dialect::V01 => v01::task(task, alias.unwrap_or(&task.id)),
        Dialect::V03 => v03::task(task),
        Dialect::V1 => Json::of(task),
    }
}
