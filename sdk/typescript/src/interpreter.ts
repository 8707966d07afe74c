/** Code contexts: cells of code that keep what they leave behind. */

import type { CallOptions } from './client.js';
import { SandboxSecurityError } from './errors.js';
import { parseSSEStream } from './sse.js';
import { signalOf, streamCut, streamError, type Target } from './target.js';
import type { CodeContext, CodeEvent, CodeLanguage, CreateContextOptions,
  ExecutionResult, Result, RunCodeOptions } from './types.js';

const aliases: Readonly<Record<string, CodeLanguage>> = {
  python: 'python', python3: 'python', javascript: 'javascript',
  js: 'javascript', node: 'javascript', typescript: 'typescript',
  ts: 'typescript',
};

function languageOf(name = 'python'): CodeLanguage {
  const language = Object.hasOwn(aliases, name) ? aliases[name] : undefined;

  if (language === undefined) {
    throw new SandboxSecurityError(`Unknown language '${name}': python, `
      + 'javascript or typescript', 'INVALID_LANGUAGE', { field: 'language' });
  }

  return language;
}

export class Interpreter {
  readonly #target: Target;
  readonly #defaults = new Map<CodeLanguage, Promise<CodeContext>>();

  constructor(target: Target) {
    this.#target = target;
  }

  async createCodeContext(options: CreateContextOptions = {}):
    Promise<CodeContext> {
    const { contextId, language, cwd } = await this.#target.post<{
      contextId: string; language: CodeLanguage; cwd: string }>('contexts', {
      language: languageOf(options.language),
      cwd: options.cwd,
      env_vars: options.envVars,
      timeout: options.timeout,
    }, 'code.createContext', options);

    return { id: contextId, language, cwd };
  }

  async listCodeContexts(options: CallOptions = {}): Promise<CodeContext[]> {
    const { contexts } = await this.#target.json<{ contexts: CodeContext[] }>(
      'GET', '/api/contexts', { operation: 'code.listContexts',
        ...signalOf(options) });

    return contexts;
  }

  async deleteCodeContext(id: string, options: CallOptions = {}):
    Promise<void> {
    await this.#target.request('DELETE',
      `/api/contexts/${encodeURIComponent(id)}`,
      { operation: 'code.deleteContext', ...signalOf(options) });
  }

  /** Events as they come; leaving the stream interrupts the cell. */
  async runCodeStream(code: string, options: RunCodeOptions = {}):
    Promise<ReadableStream<Uint8Array>> {
    const given = options.context;

    if (given) return this.#run(given.id, code, options);

    const language = languageOf(options.language);
    const context = await this.#defaultContext(language);

    try {
      return await this.#run(context.id, code, options);
    } catch (error) {
      /* It went with a restart of the sandbox, or its process has ended:
         nothing of the cell was run. */
      if (!this.#contextIsGone(error)) throw error;

      this.#defaults.delete(language);
      const fresh = await this.#defaultContext(language);
      return this.#run(fresh.id, code, options);
    }
  }

  async runCode(code: string, options: RunCodeOptions = {}):
    Promise<ExecutionResult> {
    const result: ExecutionResult = { code, logs: { stdout: [], stderr: [] },
      results: [] };
    const stream = await this.runCodeStream(code, options);

    for await (const event of parseSSEStream<CodeEvent>(stream,
      options.signal)) {

      switch (event.type) {
      case 'stdout':
      case 'stderr': {
        const call = event.type === 'stdout' ? options.onStdout
          : options.onStderr;

        result.logs[event.type].push(event.text);
        await call?.({ text: event.text, timestamp: Date.now() });
        break;
      }
      case 'result': {
        const { type: _type, metadata: _metadata, ...formats } = event;
        const one: Result = formats;

        result.results.push(one);
        await options.onResult?.(one);
        break;
      }
      case 'error':
        // Not the cell's own: its sandbox has gone.
        if (event.code !== undefined) {
          throw streamError({ error: event.evalue, code: event.code },
            'code.execute');
        }

        result.error = { name: event.name ?? event.ename,
          message: event.message ?? event.evalue,
          value: event.value ?? event.evalue,
          traceback: event.traceback };
        await options.onError?.(result.error);
        return result;

      case 'execution_complete':
        result.executionCount = event.execution_count;
        return result;
      }
    }

    throw streamCut('code.execute');
  }

  #contextIsGone(error: unknown): boolean {
    const code = (error as { code?: unknown } | null)?.code;

    return code === 'CONTEXT_NOT_FOUND';
  }

  #defaultContext(language: CodeLanguage): Promise<CodeContext> {
    let context = this.#defaults.get(language);

    if (context === undefined) {
      context = this.createCodeContext({ language });
      this.#defaults.set(language, context);
      context.catch(() => this.#defaults.delete(language));
    }

    return context;
  }

  #run(id: string, code: string, options: RunCodeOptions):
    Promise<ReadableStream<Uint8Array>> {
    return this.#target.postStream('execute/code', {
      context_id: id,
      code,
      language: options.context ? options.language : undefined,
      timeout_ms: options.timeout,
      env_vars: options.envVars,
    }, 'code.execute', options);
  }
}
