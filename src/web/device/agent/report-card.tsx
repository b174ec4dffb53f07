import { agentNow, request } from '../../shared/api.ts';
import { Card } from '../../shared/ui.tsx';
import { status } from '../device-store.ts';
import { ActionResult, useAction } from './action.tsx';
import { agentText } from './agent-text.ts';

const { report: text } = agentText;

/** A file for those who help from afar. */
export function ReportCard() {
  const action = useAction();
  const download = async (): Promise<string> => {
    const file = await (await request('/api/v1/diagnostics')).blob();
    const { site = 'site', device = 'device' } = status.value?.info ?? {};
    const name = `swellsight-${site}-${device}-${new Date(agentNow()).toISOString().slice(0, 10)}.json`;
    saveFile(file, name);
    return text.done(name);
  };
  return (
    <Card title={text.title}>
      <p class="muted">{text.note}</p>
      <div>
        <button type="button" aria-disabled={action.isRunning} onClick={() => action.run(download)}>
          {text.download}
        </button>
      </div>
      <ActionResult action={action} />
    </Card>
  );
}

/** A link cannot send the token, so that the file is read first. */
function saveFile(file: Blob, name: string): void {
  const url = URL.createObjectURL(file);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  // The browser reads the address after this turn.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
