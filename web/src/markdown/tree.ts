/**
 * Markdown as a tree that `Markdown.svelte` draws. There is no HTML on the way: raw HTML is text, a picture is a
 * link to it, and only addresses that cannot run anything become links.
 */
import { lexer, type Token, type Tokens } from "marked";

export type Inline =
  | { kind: "text"; text: string }
  | { kind: "code"; text: string }
  | { kind: "break" }
  | { kind: "strong" | "em" | "del"; children: Inline[] }
  | { kind: "link"; href: string; children: Inline[] };

export type Align = "left" | "center" | "right" | null;

export type Block =
  | { kind: "heading"; level: number; children: Inline[] }
  | { kind: "paragraph"; children: Inline[] }
  | { kind: "code"; language: string; text: string }
  | { kind: "quote"; children: Block[] }
  | { kind: "list"; ordered: boolean; start: number; items: { checked: boolean | null; children: Block[] }[] }
  | { kind: "table"; align: Align[]; head: Inline[][]; rows: Inline[][][] }
  | { kind: "rule" };

const deepest = 12;
const entities: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'", nbsp: "\u00a0" };

export function parseMarkdown(text: string): Block[] {
  return blocks(lexer(text, { gfm: true, breaks: true }), 0);
}

/** The address if it is one that a click may follow, else null. */
export function safeHref(href: string): string | null {
  try {
    const url = new URL(href.trim());
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null; // not a whole address: it would lead to a page that does not exist
  }
}

function blocks(tokens: Token[], depth: number): Block[] {
  return tokens.flatMap((token) => block(token, depth));
}

function block(any: Token, depth: number): Block[] {
  const token = any as Tokens.Generic;
  if (depth > deepest) return [paragraph([{ kind: "text", text: token.raw }])];
  switch (token.type) {
    case "heading":
      return [{ kind: "heading", level: Number(token.depth), children: inlines(token.tokens) }];
    case "paragraph":
    case "text":
      return [paragraph(token.tokens ? inlines(token.tokens) : [{ kind: "text", text: decoded(String(token.text)) }])];
    case "html":
      return token.raw.trim() === "" ? [] : [paragraph([{ kind: "text", text: token.raw.trim() }])];
    case "code":
      return [{ kind: "code", language: String(token.lang ?? ""), text: String(token.text) }];
    case "blockquote":
      return [{ kind: "quote", children: blocks(token.tokens ?? [], depth + 1) }];
    case "list":
      return [list(token as Tokens.List, depth)];
    case "table":
      return [table(token as Tokens.Table)];
    case "hr":
      return [{ kind: "rule" }];
    default:
      return [];
  }
}

function paragraph(children: Inline[]): Block {
  return { kind: "paragraph", children };
}

function list(token: Tokens.List, depth: number): Block {
  const items = token.items.map((item) => ({
    checked: item.task ? item.checked === true : null,
    children: blocks(
      item.tokens.filter((part) => part.type !== "checkbox"),
      depth + 1,
    ),
  }));
  return { kind: "list", ordered: token.ordered, start: token.start === "" ? 1 : token.start, items };
}

function table(token: Tokens.Table): Block {
  const cells = (row: Tokens.TableCell[]) => row.map((cell) => inlines(cell.tokens));
  return { kind: "table", align: token.align, head: cells(token.header), rows: token.rows.map(cells) };
}

function inlines(tokens: Token[] = [], depth = 0): Inline[] {
  return tokens.map((token) => inline(token as Tokens.Generic, depth));
}

function inline(token: Tokens.Generic, depth: number): Inline {
  if (depth > deepest) return { kind: "text", text: token.raw };
  switch (token.type) {
    case "strong":
    case "em":
    case "del":
      return { kind: token.type, children: inlines(token.tokens, depth + 1) };
    case "codespan":
      return { kind: "code", text: String(token.text) };
    case "br":
      return { kind: "break" };
    case "link":
      return link(String(token.href), inlines(token.tokens, depth + 1), token.raw);
    case "image":
      return link(String(token.href), [{ kind: "text", text: String(token.text || token.href) }], token.raw);
    case "html":
      return { kind: "text", text: token.raw };
    case "text":
      return { kind: "text", text: decoded(String(token.text)) };
    default:
      return { kind: "text", text: String(token.text ?? token.raw) };
  }
}

function link(href: string, children: Inline[], raw: string): Inline {
  const safe = safeHref(href);
  return safe === null ? { kind: "text", text: raw } : { kind: "link", href: safe, children };
}

function decoded(text: string): string {
  return text.replace(/&(amp|lt|gt|quot|#39|nbsp);/g, (_, name: string) => entities[name] ?? "");
}
