import './dialogs.css';
import { Dialog } from '../../../shared/ui.tsx';
import { text } from '../../../shared/text.ts';
import { closeDialog, dialog } from './open-dialog.ts';
import { LabelQueueView } from './label-queue.tsx';
import { ReadingList } from './reading-list.tsx';

/** The queue of frames to read, and the list of readings: loaded after the first view. */
export function LabelDialogs() {
  const open = dialog.value;
  if (open === null) return null;
  return (
    <Dialog title={open.name === 'queue' ? text.queue.title : text.list.title} onClose={closeDialog}>
      {open.name === 'queue' ? <LabelQueueView camera={open.camera} /> : <ReadingList camera={open.camera} />}
    </Dialog>
  );
}
