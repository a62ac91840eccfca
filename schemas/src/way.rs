//! The way from the top of an element to a value: kept on the stack while walking, written only when somebody asks.
//!
//! Most values need no path, and building one for each was a tenth of decoding.

use std::fmt::Write;

/// Where a walk stands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way<'w> {
    /// At the element itself.
    Top,
    /// Below a key.
    Key(&'w Way<'w>, &'w str),
    /// At a place in a list.
    Index(&'w Way<'w>, usize),
}

impl Way<'_> {
    /// All steps, outermost first.
    pub(crate) fn steps(&self) -> Vec<String> {
        let mut steps = match self {
            Way::Top => return Vec::new(),
            Way::Key(up, _) | Way::Index(up, _) => up.steps(),
        };
        steps.push(match self {
            Way::Key(_, key) => (*key).to_owned(),
            Way::Index(_, index) => index.to_string(),
            Way::Top => String::new(),
        });
        steps
    }

    /// All steps, each with a `/` before it.
    pub(crate) fn written(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Way::Top => {}
            Way::Key(up, key) => {
                up.write(out);
                out.push('/');
                out.push_str(key);
            }
            Way::Index(up, index) => {
                up.write(out);
                // Writing to a string cannot fail.
                let _ = write!(out, "/{index}");
            }
        }
    }
}
