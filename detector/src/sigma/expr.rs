//! What a detection says of an event once its fields are columns: the one form that [`super::sql`] writes as SQL and
//! [`super::matcher`] evaluates directly, so that both can be held against each other.

use super::network::Network;
use super::pattern::Pattern;

/// What a column holds, as far as comparisons differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Text.
    Text,
    /// List of texts: a test holds if it holds for one of them.
    Texts,
    /// Integer.
    Integer,
    /// Float.
    Float,
    /// Boolean.
    Boolean,
    /// Moment, microseconds UTC.
    Moment,
    /// Bytes, dates, maps and lists of structs: there or not there, nothing else.
    Opaque,
}

impl Kind {
    /// From the type as `docs/events.md` and `vialog sources columns` write it.
    pub fn of(type_name: &str) -> Self {
        match type_name {
            "text" => Self::Text,
            "list of text" => Self::Texts,
            "float" => Self::Float,
            "boolean" => Self::Boolean,
            name if name.starts_with("integer") => Self::Integer,
            name if name.starts_with("time") => Self::Moment,
            _ => Self::Opaque,
        }
    }
}

/// Where a field lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    /// A column of `events`.
    Plain { name: String, kind: Kind },
    /// A leaf in `ext`, which holds JSON text by path.
    Ext { path: String },
    /// A member of one item, from 1, of a list of structs.
    Item { list: String, index: usize, member: String },
}

impl Column {
    /// What it holds.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Plain { kind, .. } => *kind,
            Self::Ext { .. } | Self::Item { .. } => Kind::Text,
        }
    }

    /// The column of `events` that it needs.
    pub(super) fn base(&self) -> &str {
        match self {
            Self::Plain { name, .. } => name,
            Self::Ext { .. } => "ext",
            Self::Item { list, .. } => list,
        }
    }

    /// For people.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Plain { name, .. } => name.clone(),
            Self::Ext { path } => format!("ext.{path}"),
            Self::Item { list, index, member } => format!("{list}[{index}].{member}"),
        }
    }
}

/// A detection over columns. A test of what is not there is neither true nor false; `Not` takes that for false.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    /// Every one; true when empty.
    All(Vec<Expr>),
    /// At least one; false when empty.
    Any(Vec<Expr>),
    /// Not so.
    Not(Box<Expr>),
    /// A test of one column.
    Leaf(Column, Test),
}

/// A test of one column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// There is nothing.
    Null,
    /// Its text, whole, is of this form.
    Is(Pattern),
    /// As a number.
    Number(Order, f64),
    /// Is this boolean.
    Flag(bool),
    /// A regular expression finds something in its text.
    Regex(String),
    /// It is an address of this network.
    Network(Network),
    /// It stands so to the text of another column.
    Field(Place, Column),
    /// A part of the moment, UTC.
    Part(Part, Order, f64),
    /// The moment, microseconds since 1970.
    Moment(Order, i64),
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    /// As Sigma writes it, `eq` included.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "eq" => Self::Equal,
            "neq" => Self::NotEqual,
            "lt" => Self::Less,
            "lte" => Self::LessOrEqual,
            "gt" => Self::Greater,
            "gte" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    /// As Sigma writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Equal => "eq",
            Self::NotEqual => "neq",
            Self::Less => "lt",
            Self::LessOrEqual => "lte",
            Self::Greater => "gt",
            Self::GreaterOrEqual => "gte",
        }
    }

    /// As SQL writes it.
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// Whether it holds; floats in the order that SQL gives them, NaN last.
    pub(super) fn holds(self, left: f64, right: f64) -> bool {
        let order = if left == right { std::cmp::Ordering::Equal } else { left.total_cmp(&right) };
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// Where in a text another one stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Whole,
    Anywhere,
    Start,
    End,
}

/// A part of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Part {
    /// As Sigma and SQL both write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// The part of a name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year].into_iter().find(|part| part.name() == name)
    }
}

impl Expr {
    /// Several as one, without a needless level.
    pub(super) fn all(mut exprs: Vec<Self>) -> Self {
        if exprs.len() == 1 { exprs.remove(0) } else { Self::All(exprs) }
    }

    /// Several as one, without a needless level.
    pub(super) fn any(mut exprs: Vec<Self>) -> Self {
        if exprs.len() == 1 { exprs.remove(0) } else { Self::Any(exprs) }
    }

    /// Its contrary.
    pub(super) fn negated(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Its leaves in order, each with whether it is asked for (or to be absent).
    pub(super) fn leaves(&self) -> Vec<(&Column, &Test, bool)> {
        fn walk<'e>(expr: &'e Expr, wanted: bool, out: &mut Vec<(&'e Column, &'e Test, bool)>) {
            match expr {
                Expr::All(exprs) | Expr::Any(exprs) => exprs.iter().for_each(|e| walk(e, wanted, out)),
                Expr::Not(expr) => walk(expr, !wanted, out),
                Expr::Leaf(column, test) => out.push((column, test, wanted)),
            }
        }
        let mut out = Vec::new();
        walk(self, true, &mut out);
        out
    }
}
