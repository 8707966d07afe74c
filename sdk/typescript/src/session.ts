/** A session: a shell that keeps directory, variables and functions. */

import type { CallOptions } from './client.js';
import { exec } from './commands.js';
import { CommandError } from './errors.js';
import type { Interpreter } from './interpreter.js';
import { Operations } from './operations.js';
import type { Target } from './target.js';
import type { EnvVars } from './types.js';

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

function assignment(name: string, value: string | null | undefined): string {
  if (!NAME.test(name)) {
    throw new CommandError(`Invalid environment variable name: ${name}`,
      'COMMAND_EXECUTION_ERROR', { field: name });
  }

  return value === null || value === undefined ? `unset ${name}`
    : `export ${name}='${value.replaceAll("'", "'\\''")}'`;
}

/** Sets and unsets variables in a session's shell. */
export async function exportVariables(target: Target, envVars: EnvVars,
  options: CallOptions = {}): Promise<void> {
  const lines = Object.entries(envVars)
    .map(([name, value]) => assignment(name, value));

  if (lines.length === 0) return;

  const result = await exec(target, lines.join('\n'), options);

  if (!result.success) {
    throw new CommandError(`Failed to set variables: ${result.stderr}`,
      'COMMAND_EXECUTION_ERROR', { context: { exitCode: result.exitCode } });
  }
}

export class ExecutionSession extends Operations {
  /** The session's id. */
  readonly id: string;

  /** @internal */
  constructor(target: Target, interpreter: Interpreter) {
    super(target, interpreter);
    this.id = target.sessionId;
  }

  /** Variables of this session; `null` takes one away. */
  setEnvVars(envVars: EnvVars, options?: CallOptions): Promise<void> {
    return exportVariables(this.target, envVars, options);
  }
}
