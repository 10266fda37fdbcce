//! The page as HTML: readable from 360 px on, by day and by night, without anything from elsewhere.
//!
//! One column; the labels of the table move above their values where it is narrow. Colours come from
//! the style sheet only, so that a reader that drops it shows its own.

use std::fmt::Write as _;

use super::Page;
use super::link::{escape, target, write_text};
use super::plain::{FILES, answer, file_name, notes, sent, size};
use super::view::Row;

/// Deeper rows are indented as this deep.
const INDENTS: usize = 6;

const STYLE: &str = "\
:root{color-scheme:light dark;supported-color-schemes:light dark}
body{margin:0;padding:0;background:#eef1f5;color:#1b2430}
a{color:#0b57a4;overflow-wrap:anywhere}
.page{max-width:640px;margin:0 auto;padding:16px 12px 24px}
.card{background:#ffffff;border:1px solid #d8dee6;border-radius:8px;padding:20px}
.via{margin:0 0 6px;font-size:13px;color:#566274}
h1{margin:0 0 12px;font-size:21px;line-height:1.3;overflow-wrap:anywhere}
.who{margin:0;font-size:15px;overflow-wrap:anywhere}
.answer{margin:14px 0 0;padding:10px 12px;border-radius:6px;background:#e8f1fb;font-size:14px;overflow-wrap:anywhere}
.lead{margin:18px 0 0;overflow-wrap:anywhere}
table{width:100%;margin:18px 0 0;border-collapse:collapse;table-layout:fixed}
th,td{padding:7px 8px;border-top:1px solid #e3e8ee;text-align:left;vertical-align:top;overflow-wrap:anywhere}
th{width:36%;font-weight:normal;color:#566274}
th.group{width:auto;font-weight:600;color:#1b2430}
h2{margin:22px 0 6px;font-size:15px}
ul{margin:0;padding-left:20px}
.note{margin:16px 0 0;font-size:14px;color:#566274}
.foot{margin:14px 4px 0;font-size:12px;line-height:1.5;color:#566274;overflow-wrap:anywhere}
.d1 th{padding-left:22px}.d2 th{padding-left:36px}.d3 th{padding-left:50px}
.d4 th{padding-left:64px}.d5 th{padding-left:78px}.d6 th{padding-left:92px}
@media (max-width:480px){
.card{padding:16px 14px}
th,td{display:block;width:auto!important}
th{padding:8px 4px 0;font-size:13px}
td{border-top:0;padding:1px 4px 8px}
.d1 th,.d1 td{padding-left:16px}.d2 th,.d2 td{padding-left:28px}.d3 th,.d3 td{padding-left:40px}
.d4 th,.d4 td{padding-left:52px}.d5 th,.d5 td{padding-left:64px}.d6 th,.d6 td{padding-left:76px}
th.group{font-size:15px;padding-bottom:6px}
}
@media (prefers-color-scheme:dark){
body{background:#12161b!important;color:#e4e8ee!important}
.card{background:#1c222a!important;border-color:#343d49!important}
a{color:#8cc1ff!important}
.answer{background:#20344a!important}
th,td{border-color:#343d49!important}
th,.via,.note,.foot{color:#a9b4c2!important}
th.group{color:#e4e8ee!important}
}
";

/// The HTML part.
pub(super) fn html(page: &Page<'_>) -> String {
    let mut html = String::with_capacity(8_192);
    head(page, &mut html);
    html.push_str(
        "<body>\n<div class=\"page\" style=\"font-family:system-ui,-apple-system,'Segoe UI',Roboto,\
         Helvetica,Arial,sans-serif;font-size:16px;line-height:1.45\">\n<div class=\"card\">\n",
    );
    who(page, &mut html);
    if let Some(lead) = &page.view.lead {
        html.push_str("<p class=\"lead\">");
        write_text(lead, &mut html);
        html.push_str("</p>\n");
    }
    table(&page.view.rows, &mut html);
    files(page, &mut html);
    for note in notes(page) {
        element("p", "note", &note, &mut html);
    }
    html.push_str("</div>\n");
    foot(page, &mut html);
    html.push_str("</div>\n</body>\n</html>\n");
    html
}

fn head(page: &Page<'_>, html: &mut String) {
    html.push_str(
        "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"supported-color-schemes\" content=\"light dark\">\n<title>",
    );
    escape(&page.heading(), html);
    html.push_str("</title>\n<style>\n");
    html.push_str(STYLE);
    html.push_str("</style>\n</head>\n");
}

/// An element with a class and escaped text.
fn element(name: &str, class: &str, text: &str, html: &mut String) {
    write!(html, "<{name} class=\"{class}\">").expect("a string takes any text");
    escape(text, html);
    writeln!(html, "</{name}>").expect("a string takes any text");
}

fn who(page: &Page<'_>, html: &mut String) {
    let sender = page.letter.message.sender();
    element("p", "via", "A message of a software agent", html);
    html.push_str("<h1>");
    escape(&page.heading(), html);
    html.push_str("</h1>\n<p class=\"who\">From <strong>");
    escape(&page.name, html);
    html.push_str("</strong> &lt;");
    escape(sender.as_str(), html);
    html.push_str("&gt;</p>\n");
    element("p", "answer", &answer(page), html);
}

fn table(rows: &[Row], html: &mut String) {
    if rows.is_empty() {
        return;
    }
    html.push_str("<table role=\"presentation\">\n");
    for row in rows {
        match row.depth.min(INDENTS) {
            0 => html.push_str("<tr>"),
            depth => write!(html, "<tr class=\"d{depth}\">").expect("a string takes any text"),
        }
        let begin = match &row.value {
            Some(_) => "<th scope=\"row\">",
            None => "<th scope=\"row\" class=\"group\" colspan=\"2\">",
        };
        html.push_str(begin);
        escape(&row.label, html);
        html.push_str("</th>");
        if let Some(value) = &row.value {
            html.push_str("<td>");
            write_text(value, html);
            html.push_str("</td>");
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table>\n");
}

fn files(page: &Page<'_>, html: &mut String) {
    let files = page.letter.message.attachments();
    if files.is_empty() {
        return;
    }
    html.push_str("<h2>Files</h2>\n<ul>\n");
    for file in files.iter().take(FILES) {
        html.push_str("<li>");
        let link = target(&file.url);
        if let Some(link) = &link {
            html.push_str("<a href=\"");
            escape(link, html);
            html.push_str("\" rel=\"noopener noreferrer nofollow\">");
        }
        escape(&file_name(file), html);
        if link.is_some() {
            html.push_str("</a>");
        }
        writeln!(html, " ({})</li>", size(file.size)).expect("a string takes any text");
    }
    html.push_str("</ul>\n");
}

fn foot(page: &Page<'_>, html: &mut String) {
    html.push_str("<p class=\"foot\">");
    escape(&sent(page), html);
    html.push_str(" over AMTP, the mail of software agents. Message ");
    escape(page.letter.message_id.as_str(), html);
    if let Some(schema) = page.letter.message.schema() {
        html.push_str(", ");
        escape(schema.as_str(), html);
    }
    html.push_str(".</p>\n");
}
