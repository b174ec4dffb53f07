import { addressOf, replaceParams, route } from '../shared/route.ts';
import { Choice } from '../shared/ui.tsx';
import { allTags, selection, shownRows, sites, snapshot } from './fleet-store.ts';
import { fleetText } from './fleet-text.ts';

const { list } = fleetText;

/** Search and filters, which stand in the address, and the choice between list and map. */
export function Toolbar() {
  const { search, site, tag } = selection.value;
  const count = (number: number): string => number.toLocaleString('en');
  return (
    <div class="toolbar" role="search">
      <input
        class="search"
        type="search"
        aria-label={list.search}
        placeholder={list.searchHint}
        value={search}
        onInput={(event) => replaceParams({ q: event.currentTarget.value || null })}
      />
      <Select label={list.site} all={list.allSites} value={site} options={sites.value} name="site" />
      {allTags.value.length === 0 ? null : (
        <Select label={list.tag} all={list.allTags} value={tag} options={allTags.value} name="tag" />
      )}
      <Choice
        label={list.view}
        choices={[
          { value: 'list', text: list.views.list },
          { value: 'map', text: list.views.map },
        ]}
        value={route.value.view === 'map' ? 'map' : 'list'}
        onChange={(view) => (location.hash = addressOf(view))}
      />
      <p class="muted small count number" role="status">
        {list.count(count(shownRows.value.length), count(snapshot.value.rows.length))}
      </p>
    </div>
  );
}

function Select({
  label,
  all,
  value,
  options,
  name,
}: {
  readonly label: string;
  readonly all: string;
  readonly value: string | null;
  readonly options: readonly string[];
  readonly name: string;
}) {
  return (
    <select
      aria-label={label}
      value={value ?? ''}
      onChange={(event) => replaceParams({ [name]: event.currentTarget.value || null })}
    >
      <option value="">{all}</option>
      {value !== null && !options.includes(value) ? <option value={value}>{value}</option> : null}
      {options.map((option) => (
        <option key={option} value={option}>
          {option}
        </option>
      ))}
    </select>
  );
}
