// Entry of the process that checks the whole database while the agent uses it. A separate process, because a check of one
// table takes minutes in a large file and cannot be interrupted: the agent ends it with SIGKILL.
import { constants, setPriority } from 'node:os';
import { checkAllTables, type CheckReport } from './check.ts';

// The agent and its vision process have priority. The input and output of a niced process comes last, too.
setPriority(constants.priority.PRIORITY_LOW);
process.once('disconnect', () => process.exit());
// Ctrl-C in a terminal reaches the whole process group, but the agent decides when this process stops.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);

process.once('message', (path) => {
  const report: CheckReport = { fault: checkAllTables(String(path)) };
  process.send?.(report, () => process.exit());
});
