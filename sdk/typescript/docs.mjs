// Writes the reference from the doc comments: one page for each subject.
//
//   node docs.mjs DIRECTORY       TYPESCRIPT names the compiler's package

import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const top = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const ts = require(process.env.TYPESCRIPT ?? 'typescript');
const out = process.argv[2];
const sources = readdirSync(join(top, 'src')).filter((f) => f.endsWith('.ts'));
const program = ts.createProgram(sources.map((f) => join(top, 'src', f)),
  { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022,
    moduleResolution: ts.ModuleResolutionKind.Bundler });

// Nodes know their parents from here on.
program.getTypeChecker();

const note = '<!-- Written by sdk/typescript/docs.mjs from the doc comments. -->';

// What a method is about is what its body hands it to.
const pages = {
  sandbox: 'Sandboxes: getting one, and its life',
  commands: 'Commands',
  processes: 'Processes',
  files: 'Files',
  git: 'Git',
  interpreter: 'Code',
  ports: 'Ports and previews',
  sessions: 'Sessions and terminals',
  storage: 'Backups',
  streams: 'Streams',
  errors: 'Errors',
};
const subjects = { commands: 'commands', processes: 'processes',
  files: 'files', interpreter: 'interpreter', ports: 'ports',
  terminal: 'sessions', storage: 'storage', exportVariables: 'sessions' };
const named = { gitCheckout: 'git', cleanupCompletedProcesses: 'processes',
  wsConnect: 'ports', getExposedPorts: 'ports' };

const written = new Map(Object.keys(pages).map((name) => [name, []]));
const classes = new Map(Object.keys(pages).map((name) => [name, []]));
const types = new Map();        // name → text of its declaration
const printed = new Map();      // name → the page that has it

function files() {
  return program.getSourceFiles().filter((f) => f.fileName.startsWith(
    join(top, 'src')));
}

// A doc comment's text, and its @params as a list.
function comment(node) {
  const docs = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc);
  const text = docs.map((d) => ts.getTextOfJSDocComment(d.comment) ?? '')
    .join('\n').replace(/\{@link ([^}]+)\}/g, '`$1`').trim();
  const params = ts.getJSDocParameterTags(node)
    .map((p) => `- \`${p.name.getText()}\`: `
      + `${ts.getTextOfJSDocComment(p.comment) ?? ''}`.trim());

  return [text, params.join('\n')].filter(Boolean).join('\n\n');
}

function internal(node) {
  return ts.getJSDocTags(node).some((t) => t.tagName.text === 'internal');
}

function hidden(node) {
  return node.name === undefined || ts.isPrivateIdentifier(node.name)
    || internal(node) || (ts.canHaveModifiers(node)
      && ts.getModifiers(node)?.some((m) =>
        m.kind === ts.SyntaxKind.ProtectedKeyword
        || m.kind === ts.SyntaxKind.PrivateKeyword));
}

function tidy(text) {
  return text.replace(/\bt\./g, '').replace(/\s+/g, ' ').replace(/\( /g, '(')
    .replace(/ \)/g, ')').trim();
}

// A line that is too long is broken at its parameters.
function folded(text) {
  const parts = text.match(/^(.*?\()(.*)(\): .*)$/);

  if (text.length <= 76 || !parts) return text;

  let depth = 0;
  let rest = '';

  for (const c of parts[2]) {
    if ('({[<'.includes(c)) depth++;
    if (')}]>'.includes(c)) depth--;
    rest += c === ',' && depth === 0 ? ',\n ' : c;
  }

  return `${parts[1]}\n  ${rest}\n${parts[3]}`;
}

function isProperty(node) {
  return ts.isPropertyDeclaration(node) || ts.isGetAccessor(node);
}

function properties(node) {
  const members = node.members.filter((m) => isProperty(m) && !hidden(m));

  return members.length ? [block(members.map(signature).join('\n'))] : [];
}

function signature(node) {
  const name = node.name.getText();

  if (isProperty(node)) {
    const text = comment(node).replace(/\s+/g, ' ');

    return `${text ? `/** ${text} */\n` : ''}readonly ${name}${
      node.questionToken ? '?' : ''}: ${tidy(node.type?.getText()
      ?? 'unknown')};`;
  }

  const generic = node.typeParameters
    ? `<${node.typeParameters.map((p) => p.getText()).join(', ')}>` : '';
  const parameters = node.parameters.map((p) => {
    const optional = p.questionToken || p.initializer ? '?' : '';

    if (ts.isIdentifier(p.name) && p.name.text.startsWith('_')) return null;
    return `${p.dotDotDotToken ? '...' : ''}${p.name.getText()}${optional}: `
      + tidy(p.type?.getText() ?? 'unknown');
  }).filter(Boolean);

  return folded(`${name}${generic}(${parameters.join(', ')}): `
    + tidy(node.type?.getText() ?? 'void'));
}

function block(code) {
  return `\`\`\`ts\n${code}\n\`\`\``;
}

// Overloads are one entry; the implementation's own signature isn't shown.
function methods(node, place) {
  const groups = new Map();

  for (const member of node.members) {
    if (hidden(member) || !ts.isMethodDeclaration(member)) continue;

    const name = member.name.getText();

    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(member);
  }

  for (const [name, members] of groups) {
    const shown = members.length > 1
      ? members.filter((m) => m.body === undefined) : members;
    const last = members[members.length - 1];
    const text = members.map(comment).filter(Boolean).join('\n\n');

    place(name, last, `### ${name}\n\n${block(shown.map(signature)
      .join('\n'))}${text ? `\n\n${text}` : ''}`);
  }
}

function subject(name, node, otherwise) {
  if (named[name]) return named[name];

  const body = node.body?.getText() ?? '';

  for (const [word, page] of Object.entries(subjects)) {
    if (new RegExp(`(?:#|\\b)${word}\\b[.(]`).test(body)) return page;
  }

  return /[sS]ession/.test(name) || name === 'setEnvVars' ? 'sessions'
    : otherwise;
}

// ---- what is exported

for (const file of files()) {
  const base = file.fileName.slice(join(top, 'src').length + 1, -3);

  ts.forEachChild(file, (node) => {
    const exported = ts.canHaveModifiers(node) && ts.getModifiers(node)
      ?.some((m) => m.kind === ts.SyntaxKind.ExportKeyword);

    if (!exported || internal(node)) return;

    if (ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) {
      if (node.name.text !== 'RequestOptions') {
        types.set(node.name.text, node.getFullText().replace(/^export /m, '')
          .trim());
      }
    }

    if (ts.isFunctionDeclaration(node) && node.name
        && ['getSandbox', 'listSandboxes', 'streamFile', 'collectFile',
          'parseSSEStream', 'serverSentEvents', 'responseToAsyncIterable',
          'asyncIterableToSSEStream'].includes(node.name.text)) {
      const page = base === 'sandbox' ? 'sandbox' : base === 'files' ? 'files'
        : 'streams';
      const text = comment(node);

      written.get(page).push(`### ${node.name.text}\n\n${
        block(signature(node))}${text ? `\n\n${text}` : ''}`);
    }

    if (!ts.isClassDeclaration(node) || !node.name) return;

    if (base === 'errors') {
      const text = comment(node);
      const parent = node.heritageClauses?.[0]?.types[0].getText();

      written.get('errors').push([`### ${node.name.text}`,
        `extends \`${parent}\``, text, ...properties(node)].filter(Boolean)
        .join('\n\n'));
      return;
    }

    if (['operations', 'sandbox'].includes(base)) {
      methods(node, (name, member, entry) =>
        written.get(subject(name, member, 'sandbox')).push(entry));
    }

    const home = { processes: 'processes', session: 'sessions',
      xterm: 'sessions' }[base];

    if (home && node.name.text !== 'Interpreter') {
      const parts = [`## ${node.name.text}`, comment(node), ...properties(node)];

      methods(node, (_name, _node, entry) => parts.push(entry));
      classes.get(home).push(parts.filter(Boolean).join('\n\n'));
    }
  });
}

// ---- the types, each where it is first needed

function used(text) {
  return [...new Set(text.match(/\b[A-Z]\w+/g) ?? [])]
    .filter((name) => types.has(name));
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

for (const [page, functions] of written) {
  const entries = [...functions, ...classes.get(page)];
  const own = [];
  const elsewhere = new Map();
  const queue = used(entries.join('\n'));

  for (let name = queue.shift(); name; name = queue.shift()) {
    if (printed.has(name)) {
      if (printed.get(name) !== page) elsewhere.set(name, printed.get(name));
      continue;
    }

    printed.set(name, page);
    own.push(block(types.get(name)));
    queue.push(...used(types.get(name)).filter((n) => n !== name));
  }

  let text = `${note}\n\n# ${pages[page]}\n\n${entries.join('\n\n')}\n`;

  if (own.length || elsewhere.size) text += '\n## Types\n';

  if (elsewhere.size) {
    text += `\nElsewhere: ${[...elsewhere].map(([name, where]) =>
      `[\`${name}\`](${where}.md#types)`).join(', ')}.\n`;
  }

  if (own.length) text += `\n${own.join('\n\n')}\n`;

  writeFileSync(join(out, `${page}.md`), text);
}

writeFileSync(join(out, 'README.md'), `${note}

# The TypeScript client

${Object.entries(pages).map(([name, title]) => `- [${title}](${name}.md)`)
    .join('\n')}
`);
