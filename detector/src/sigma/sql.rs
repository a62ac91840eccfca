//! A detection as SQL of DataFusion.
//!
//! Traps that this file answers. Sigma compares without case: `lower()` on both sides. LIKE has `%`, `_` and `\` of its
//! own: escaped. `NOT` of NULL is NULL: `NOT COALESCE(x, false)`. A rule file takes what stands in `{}` for a parameter:
//! no literal has `{`, it is `chr(123)`, as control characters are theirs. `ext` holds JSON text: it is decoded. A test on
//! a list holds for one of its texts and DataFusion's dialect has no lambda: the texts are joined by U+001F and wildcards
//! do not cross it. What a column needs before it can be tested is a column of its own, beside the others, in a subquery.

use std::collections::BTreeMap;

use super::expr::{Column, Expr, Kind, Order, Place, Test};
use super::network::Network;
use super::pattern::Pattern;

/// Columns that are made from others: name to the layer it is made in and its SQL. A layer may use those below it.
#[derive(Debug, Clone, Default)]
pub(super) struct Derived {
    columns: BTreeMap<String, (usize, String)>,
}

/// Layers of derived columns: text out of JSON, then addresses made ready, then written out.
const LAYERS: usize = 3;

impl Derived {
    /// `table`, with them beside its columns.
    pub(super) fn from(&self, table: &str) -> String {
        (0..LAYERS).fold(table.to_owned(), |table, layer| {
            let columns = self.columns.iter().filter(|(_, (l, _))| *l == layer);
            let columns: String = columns.map(|(name, (_, sql))| format!(",\n      {sql} AS {name}")).collect();
            if columns.is_empty() { table } else { format!("(\n    SELECT *{columns}\n    FROM {table}\n  )") }
        })
    }

    /// The name of a derived column, which is made at its first use.
    fn name(&mut self, wish: &str, layer: usize, sql: String) -> String {
        let clean: String = wish.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
        let mut name = clean.clone();
        for n in 2.. {
            match self.columns.get(&name) {
                Some((_, known)) if *known != sql => name = format!("{clean}_{n}"),
                _ => break,
            }
        }
        self.columns.insert(name.clone(), (layer, sql));
        name
    }
}

/// The detection as a condition.
pub(super) fn condition(expr: &Expr, derived: &mut Derived) -> String {
    match expr {
        Expr::All(exprs) if exprs.is_empty() => "true".into(),
        Expr::All(exprs) => exprs.iter().map(|e| bracketed(e, derived, true)).collect::<Vec<_>>().join(" AND "),
        Expr::Any(exprs) => alternatives(exprs, derived),
        Expr::Not(inner) => format!("NOT COALESCE({}, false)", condition(inner, derived)),
        Expr::Leaf(column, test) => leaf(column, test, derived),
    }
}

fn bracketed(expr: &Expr, derived: &mut Derived, inside_all: bool) -> String {
    let sql = condition(expr, derived);
    let loose = match expr {
        Expr::Any(exprs) => exprs.len() > 1 && in_list(exprs).is_none(),
        Expr::All(exprs) => exprs.len() > 1 && !inside_all,
        Expr::Not(_) => false,
        Expr::Leaf(column, test) => !inside_all && is_compound(column, test),
    };
    if loose { format!("({sql})") } else { sql }
}

/// Whether a leaf is several conditions.
fn is_compound(_: &Column, test: &Test) -> bool {
    matches!(test, Test::Network(network) if network.is_v6())
}

fn alternatives(exprs: &[Expr], derived: &mut Derived) -> String {
    if exprs.is_empty() {
        return "false".into();
    }
    if let Some((column, cased, texts)) = in_list(exprs) {
        let text = text(column, derived);
        let side = if cased { text } else { format!("lower({text})") };
        return format!("{side} IN ({})", texts.iter().map(|t| literal(t)).collect::<Vec<_>>().join(", "));
    }
    exprs.iter().map(|e| bracketed(e, derived, false)).collect::<Vec<_>>().join(" OR ")
}

/// Several texts without wildcards of one column that holds one text.
fn in_list(exprs: &[Expr]) -> Option<(&Column, bool, Vec<String>)> {
    let mut found: Option<(&Column, bool, Vec<String>)> = None;
    for expr in exprs {
        let Expr::Leaf(column, Test::Is(pattern)) = expr else { return None };
        let text = pattern.plain()?;
        match &mut found {
            None if column.kind() != Kind::Texts => found = Some((column, pattern.is_cased(), vec![text])),
            Some((c, cased, texts)) if *c == column && *cased == pattern.is_cased() => texts.push(text),
            _ => return None,
        }
    }
    found.filter(|(_, _, texts)| texts.len() > 1)
}

fn leaf(column: &Column, test: &Test, derived: &mut Derived) -> String {
    match test {
        Test::Null => format!("{} IS NULL", raw(column)),
        Test::Is(pattern) if column.kind() == Kind::Texts => in_texts(column, pattern, derived),
        Test::Is(pattern) => is(&text(column, derived), pattern),
        Test::Number(order, number) => match column.kind() {
            Kind::Integer | Kind::Float => format!("{} {} {number}", raw(column), order.sql()),
            _ => format!("TRY_CAST({} AS DOUBLE) {} {number}", text(column, derived), order.sql()),
        },
        Test::Flag(flag) => format!("{} = {flag}", raw(column)),
        Test::Regex(regex) => format!("{} ~ {}", text(column, derived), regex_literal(regex)),
        Test::Network(network) => in_network(column, network, derived),
        Test::Field(place, other) => fields(column, *place, other, derived),
        Test::Part(part, order, number) => format!("date_part('{}', {}) {} {number}", part.name(), raw(column), order.sql()),
        Test::Moment(order, micros) => format!("{} {} to_timestamp_micros({micros})", raw(column), order.sql()),
    }
}

fn is(text: &str, pattern: &Pattern) -> String {
    let side = if pattern.is_cased() { text.to_owned() } else { format!("lower({text})") };
    match (pattern.plain(), pattern.like()) {
        (Some(plain), _) => format!("{side} = {}", literal(&plain)),
        (None, Some(like)) => format!("{side} LIKE {}", literal(&like)),
        (None, None) => format!("{side} ~ {}", regex_literal(&format!("(?s)^{}$", pattern.regex(".")))),
    }
}

fn in_texts(column: &Column, pattern: &Pattern, derived: &mut Derived) -> String {
    let raw = raw(column);
    let joined = format!("CASE WHEN cardinality({raw}) > 0 THEN chr(31) || array_to_string({raw}, chr(31)) || chr(31) END");
    let name = derived.name(&format!("all_{}", column.label()), 0, joined);
    let side = if pattern.is_cased() { name } else { format!("lower({name})") };
    format!("{side} ~ {}", regex_literal(&format!(r"\x1f{}\x1f", pattern.regex(r"[^\x1f]"))))
}

fn in_network(column: &Column, network: &Network, derived: &mut Derived) -> String {
    let text = text(column, derived);
    if !network.is_v6() {
        return format!("{text} ~ {}", regex_literal(&network.v4_regex()));
    }
    let closed = derived.name(&format!("closed_{}", column.label()), 1, closed(&text));
    let name = derived.name(&format!("groups_{}", column.label()), 2, written_out(&closed));
    let (low, high) = network.v6_range();
    let groups = (1..=low.len() / 4).map(|i| format!("lpad(split_part({name}, ':', {i}), 4, '0')"));
    let range = match low.is_empty() {
        true => String::new(),
        false => format!(" AND {} BETWEEN '{low}' AND '{high}'", groups.collect::<Vec<_>>().join(" || ")),
    };
    format!("{name} ~ {}{range}", literal("^[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7}$"))
}

/// An IPv6 address in lower case without its zone, with `0` before a leading and behind a closing `::`.
fn closed(text: &str) -> String {
    let bare = format!("lower(split_part({text}, '%', 1))");
    format!("CASE WHEN {bare} LIKE '::%' THEN '0' ELSE '' END || {bare} || CASE WHEN {bare} LIKE '%::' THEN '0' ELSE '' END")
}

/// All eight groups of one that is closed: it has as many groups as colons, so `8 - colons` are missing in the place of `::`.
fn written_out(closed: &str) -> String {
    let missing = format!("8 - length({closed}) + length(replace({closed}, ':', ''))");
    format!("replace({closed}, '::', ':' || repeat('0:', greatest({missing}, 0)))")
}

fn fields(column: &Column, place: Place, other: &Column, derived: &mut Derived) -> String {
    let is_number = |column: &Column| matches!(column.kind(), Kind::Integer | Kind::Float);
    if place == Place::Whole && is_number(column) && is_number(other) {
        return format!("{} = {}", raw(column), raw(other));
    }
    let (left, right) = (format!("lower({})", text(column, derived)), format!("lower({})", text(other, derived)));
    match place {
        Place::Whole => format!("{left} = {right}"),
        Place::Anywhere => format!("strpos({left}, {right}) > 0"),
        Place::Start => format!("starts_with({left}, {right})"),
        Place::End => format!("ends_with({left}, {right})"),
    }
}

/// The column as it is.
pub(super) fn raw(column: &Column) -> String {
    match column {
        Column::Plain { name, .. } => name.clone(),
        Column::Ext { path } => format!("ext[{}]", literal(path)),
        Column::Item { list, index, member } => format!("{list}[{index}]['{member}']"),
    }
}

/// The text of a column.
pub(super) fn text(column: &Column, derived: &mut Derived) -> String {
    let raw = raw(column);
    match (column, column.kind()) {
        (Column::Ext { .. }, _) => derived.name(&column.label(), 0, decoded(&raw)),
        (_, Kind::Text) => raw,
        _ => format!("CAST({raw} AS VARCHAR)"),
    }
}

/// The number in a column.
pub(super) fn number(column: &Column, derived: &mut Derived) -> String {
    match column.kind() {
        Kind::Integer | Kind::Float => format!("CAST({} AS DOUBLE)", raw(column)),
        _ => format!("TRY_CAST({} AS DOUBLE)", text(column, derived)),
    }
}

/// Text out of JSON text: a string without its quotes and escapes, anything else as it is. U+0001 stands for an escaped
/// backslash meanwhile, as JSON has no bare control character. Control characters without an escape of their own, which
/// are written `\u0001`, become U+FFFD.
fn decoded(json: &str) -> String {
    let inner = format!("substr({json}, 2, length({json}) - 2)");
    let steps = [(r"\\", "chr(1)"), (r#"\""#, "chr(34)"), (r"\n", "chr(10)"), (r"\r", "chr(13)"), (r"\t", "chr(9)")];
    let replaced = steps.iter().fold(inner, |sql, (escape, plain)| format!("replace({sql}, '{escape}', {plain})"));
    let bare = format!(r"regexp_replace({replaced}, '\\u00[01][0-9a-f]', chr(65533), 'g')");
    format!(r#"CASE WHEN {json} LIKE '"%' THEN replace({bare}, chr(1), '\') ELSE {json} END"#)
}

/// A regular expression as SQL has it. DataFusion makes LIKE of one that is only a text, and there forgets to escape a
/// backslash; it does not look into a group.
fn regex_literal(regex: &str) -> String {
    if regex.contains('\\') { literal(&format!("({regex})")) } else { literal(regex) }
}

/// A text as SQL has it; no text can leave it, and none is taken for a parameter.
pub(super) fn literal(text: &str) -> String {
    let mut parts = Vec::new();
    let mut run = String::new();
    for c in text.chars() {
        if c == '{' || c.is_control() {
            parts.extend((!run.is_empty()).then(|| format!("'{}'", std::mem::take(&mut run))));
            parts.push(format!("chr({})", u32::from(c)));
        } else {
            run.push(c);
            run.extend((c == '\'').then_some(c));
        }
    }
    parts.extend((!run.is_empty() || parts.is_empty()).then(|| format!("'{run}'")));
    if parts.len() == 1 { parts.remove(0) } else { format!("({})", parts.join(" || ")) }
}

/// Conditions of a comparison with a number, for correlations.
pub(super) fn compared(side: &str, order: Order, number: &str) -> String {
    format!("{side} {} {number}", order.sql())
}
