import { text } from '../../shared/text.ts';
import { Card, Choice, Field } from '../../shared/ui.tsx';
import { HOURS, type CameraDraft, type DraftFault, type DraftField } from './camera-draft.ts';

interface Props {
  readonly draft: CameraDraft;
  readonly faults: Partial<Record<DraftField, DraftFault>>;
  readonly onChange: (change: Partial<CameraDraft>) => void;
}

/** When the camera is observed, where it is, and its units. */
export function ScheduleFields({ draft, faults, onChange }: Props) {
  const { form } = text.setup;
  const faultText = (field: DraftField): string | null => {
    const fault = faults[field];
    return fault === undefined ? null : form.faults[fault];
  };
  const input =
    (name: 'everyS' | 'cron' | 'lat' | 'lon' | 'timezone', more: object = {}) =>
    (ids: object) => (
      <input
        {...ids}
        {...more}
        value={draft[name]}
        autocomplete="off"
        onInput={(event) => onChange({ [name]: event.currentTarget.value })}
      />
    );
  return (
    <>
      <Card title={form.schedule}>
        <Choice
          label={form.rhythm}
          choices={(['every', 'cron'] as const).map((value) => ({ value, text: form.rhythms[value] }))}
          value={draft.rhythm}
          onChange={(rhythm) => onChange({ rhythm })}
        />
        {draft.rhythm === 'every' ? (
          <Field label={form.everyS} hint={form.everyHint} fault={faultText('everyS')}>
            {input('everyS', { inputMode: 'decimal' })}
          </Field>
        ) : (
          <Field label={form.cron} hint={form.cronHint} fault={faultText('cron')}>
            {input('cron', { spellcheck: false })}
          </Field>
        )}
        <Field label={form.hours} hint={form.hoursHint} fault={faultText('hours')}>
          {(ids) => (
            <select
              {...ids}
              value={draft.hours}
              onChange={(event) => {
                const { value } = event.currentTarget;
                onChange({ hours: HOURS.find((one) => one === value) ?? 'other' });
              }}
            >
              {[...HOURS, ...(draft.hours === 'other' ? (['other'] as const) : [])].map((value) => (
                <option key={value} value={value}>
                  {form.hoursNames[value]}
                </option>
              ))}
            </select>
          )}
        </Field>
        <Field label={form.timezone} hint={form.timezoneHint} fault={faultText('timezone')}>
          {input('timezone', { list: 'time-zones', spellcheck: false })}
        </Field>
        <datalist id="time-zones">
          {Intl.supportedValuesOf('timeZone').map((zone) => (
            <option key={zone} value={zone} />
          ))}
        </datalist>
      </Card>
      <Card title={form.place}>
        <div class="pair">
          <Field label={form.lat} hint={form.latHint} fault={faultText('lat')}>
            {input('lat', { inputMode: 'decimal' })}
          </Field>
          <Field label={form.lon} hint={form.lonHint} fault={faultText('lon')}>
            {input('lon', { inputMode: 'decimal' })}
          </Field>
        </div>
        <Choice
          label={form.units}
          choices={(['metric', 'imperial'] as const).map((value) => ({ value, text: form.unitNames[value] }))}
          value={draft.units}
          onChange={(units) => onChange({ units })}
        />
      </Card>
    </>
  );
}
