import { signal } from '@preact/signals';

export type DialogName = 'queue' | 'list';

/** The open dialog, and the camera that it is about. */
export const dialog = signal<{ readonly name: DialogName; readonly camera: string } | null>(null);

export const openDialog = (name: DialogName, camera: string): void => {
  dialog.value = { name, camera };
};
export const closeDialog = (): void => {
  dialog.value = null;
};
/** For a button in it: the dialog gives the focus back to where it was. */
export const closeDialogOf = ({ currentTarget }: { readonly currentTarget: Element }): void =>
  currentTarget.closest('dialog')?.close();
