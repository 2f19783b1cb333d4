//! Line breaks for generated TypeScript, so that a change of the contract shows as changed lines.

/// Puts each field, variant and comment on its own line. A short block without comments stays on
/// one line.
pub(crate) fn lay_out(source: &str) -> String {
    let union = source.contains(" | {");
    let mut out = String::new();
    let mut depth = usize::from(union);
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let mut taken = next.len_utf8();
        let braced = rest.split_inclusive('}').next().unwrap_or_default();
        match next {
            '/' => {
                taken = rest.find("*/").expect("a comment ends") + 2;
                out.push_str(&rest[..taken]);
                new_line(&mut out, depth);
            }
            '{' => {
                if union && out.ends_with("= ") {
                    new_line(&mut out, depth);
                    out.push_str("| ");
                }
                if braced.len() < 70 && !braced.contains("/**") && !braced[1..].contains('{') {
                    taken = braced.len();
                    out.push_str(&braced.replace(", }", " }"));
                } else {
                    depth += 1;
                    out.push(next);
                    new_line(&mut out, depth);
                }
            }
            '(' => {
                depth += 1;
                out.push('(');
                new_line(&mut out, depth);
                out.push_str("| ");
            }
            '}' | ')' => {
                depth -= 1;
                new_line(&mut out, depth);
                out.push(next);
            }
            ',' if depth > usize::from(union) => {
                out.push(next);
                new_line(&mut out, depth);
            }
            '|' if rest.starts_with("| {") => {
                new_line(&mut out, depth);
                out.push(next);
            }
            ' ' | '\n' if out.ends_with([' ', '\n']) => {}
            _ => out.push(next),
        }
        rest = &rest[taken..];
    }
    unquote_keys(&out) + "\n"
}

fn new_line(out: &mut String, depth: usize) {
    out.truncate(out.trim_end().len());
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
}

/// Removes the quotes of keys: `"t": "hello"` becomes `t: "hello"`.
fn unquote_keys(source: &str) -> String {
    let mut parts: Vec<&str> = source.split('"').collect();
    let mut out = parts.remove(0).to_owned();
    for pair in parts.chunks(2) {
        let (quoted, after) = (pair[0], pair[1]);
        let quote = if after.starts_with(':') { "" } else { "\"" };
        out.push_str(&format!("{quote}{quoted}{quote}{after}"));
    }
    out
}
