// The code of the function nodes in flow.json, which `npm run generate` writes. Each node gets the functions that it uses.
// `flow` is the context of the flow in Node-RED; it keeps what the page shows, in memory.

/** Limits, so that invented devices or records cannot fill the memory. */
export const LIMITS = { cameras: 100, records: 1500, answers: 5, hours: 24 };

export function readMessage(text) {
  try {
    const message = JSON.parse(text);
    return typeof message === 'object' && message !== null && !Array.isArray(message) ? message : null;
  } catch {
    return null; // An empty payload clears a retained topic.
  }
}

export function numberOr(value, otherwise) {
  return typeof value === 'number' && Number.isFinite(value) ? value : otherwise;
}

/** The time of a record; of its reception when the clock of the device is wrong; null when it cannot be shown. */
export function timeOf(record, isLive, nowMs) {
  const atMs = Date.parse(record.captured_at);
  if (isLive && !(Math.abs(nowMs - atMs) < 3_600_000)) return nowMs;
  return atMs < nowMs + 600_000 ? atMs : null;
}

export function keepObservation({ wave, status, reasons, simulated }, atMs) {
  return {
    atMs,
    status: String(status),
    value: numberOr(wave.height_m, null),
    low: numberOr(wave.height_low_m, null),
    high: numberOr(wave.height_high_m, null),
    periodS: numberOr(wave.period_s, null),
    periodLowS: numberOr(wave.period_low_s, null),
    periodHighS: numberOr(wave.period_high_s, null),
    reasons: (Array.isArray(reasons) ? reasons : []).slice(0, 5).map(String),
    isSimulated: simulated === true,
  };
}

export function keepClip({ period, breaking, breaker, status }, atMs) {
  return {
    atMs,
    status: String(status),
    value: numberOr(breaker.height_m, null),
    low: numberOr(breaker.low_m, null),
    high: numberOr(breaker.high_m, null),
    secondS: numberOr(period.second_s, null),
    perMinute: numberOr(breaking.per_minute, null),
  };
}

/** Deletes what is too old or too much. */
export function forgetOld(kept) {
  const ordered = Object.entries(kept).sort(([, a], [, b]) => a.atMs - b.atMs);
  const sinceMs = Date.now() - LIMITS.hours * 3_600_000;
  ordered.pop(); // The newest record stays, however old it is.
  ordered.forEach(([id, { atMs }], index) => {
    if (atMs < sinceMs || index < ordered.length - LIMITS.records) Reflect.deleteProperty(kept, id);
  });
}

/** Keeps observations and sea states by camera and id: a copy replaces the record. Sends on what a chart node needs. */
export function keepRecord(msg, flow) {
  const [, , site, device, , camera, stream, leaf] = msg.topic.split('/');
  const key = `${site}/${device}/${camera}`;
  const cameras = flow.get('cameras') ?? {};
  const record = readMessage(msg.payload);
  const isClip = stream === 'sea_state';
  const isCopy = stream === 'latest' || leaf === 'latest';
  if (record === null) {
    // The device, or `swellsight fleet forget`, has removed the camera or its clips.
    if (stream === 'latest') Reflect.deleteProperty(cameras, key);
    else if (isCopy && key in cameras) cameras[key].clips = {};
    flow.set('cameras', cameras);
    return null;
  }
  const parts = isClip ? [record.period, record.breaking, record.breaker] : [record.wave];
  const atMs = timeOf(record, !isCopy && stream !== 'backfill' && leaf !== 'backfill', Date.now());
  if (parts.some((part) => typeof part !== 'object' || part === null) || atMs === null) return null;
  if (typeof record.id !== 'string' || record.id === '__proto__') return null;
  if (!(key in cameras) && Object.keys(cameras).length >= LIMITS.cameras) return null;
  cameras[key] ??= { observations: {}, clips: {} };
  const kept = isClip ? cameras[key].clips : cameras[key].observations;
  // A copy on `latest` replaces nothing.
  if (isCopy && record.id in kept) return null;
  kept[record.id] = isClip ? keepClip(record, atMs) : keepObservation(record, atMs);
  const { value } = kept[record.id];
  forgetOld(kept);
  flow.set('cameras', cameras);
  return isClip || value === null ? null : { topic: key, payload: value, timestamp: atMs };
}

/** Keeps whether each device is online. */
export function keepStatus(msg, flow) {
  const [, , site, device] = msg.topic.split('/');
  const devices = flow.get('devices') ?? {};
  const status = readMessage(msg.payload);
  if (status === null) Reflect.deleteProperty(devices, `${site}/${device}`);
  else if (Object.keys(devices).length < LIMITS.cameras) devices[`${site}/${device}`] = String(status.state);
  flow.set('devices', devices);
  return null;
}

/** A command for a known camera: from the page, or from the inject node. The second output answers the page. */
export function sendCommand(msg, flow) {
  const { command = 'capture', camera = '' } =
    typeof msg.payload === 'string' ? { camera: msg.payload } : (msg.payload ?? {});
  const { origin, host } = msg.req?.headers ?? {};
  const reply = (statusCode, text) =>
    msg.req
      ? { ...msg, statusCode, payload: text, headers: statusCode === 303 ? { location: 'swellsight' } : {} }
      : null;
  // Another web site must not send commands through the browser of the person who reads it.
  if (origin !== undefined && origin.replace(/^https?:\/\//, '') !== host)
    return [null, reply(403, 'another origin')];
  const isKnown = Object.hasOwn(flow.get('cameras') ?? {}, camera);
  if (!isKnown || !['capture', 'sea_state'].includes(command))
    return [null, reply(400, 'unknown camera or command')];
  const [site, device, id] = camera.split('/');
  const commandId = `node-red-${Date.now()}-${Math.random().toString(36).slice(2)}`;
  const answers = flow.get('answers') ?? [];
  answers.unshift({ id: commandId, camera, command, text: 'sent', sentMs: Date.now() });
  flow.set('answers', answers.slice(0, LIMITS.answers));
  const payload = {
    id: commandId,
    expires_at: new Date(Date.now() + 120_000).toISOString(),
    args: { camera: id },
  };
  const topic = `swellsight/v1/${site}/${device}/cmd/${command}`;
  return [{ topic, payload: JSON.stringify(payload), qos: 1, retain: false }, reply(303, '')];
}

/** Keeps the answers to these commands, and sends them on to the debug node. */
export function keepAnswer(msg, flow) {
  const answer = readMessage(msg.payload);
  const answers = flow.get('answers') ?? [];
  const asked = answers.find(({ id }) => id === answer?.id);
  if (!asked) return null;
  const { status, reason, error, result } = answer;
  const height = result?.wave?.height_m;
  const period = result?.period?.peak_s;
  const reasons = Array.isArray(result?.reasons) ? result.reasons : [];
  const why = [reason, error?.message, ...reasons].filter(Boolean).join(', ');
  asked.text = [
    status,
    typeof height === 'number' ? `${height.toFixed(1)} m` : null,
    typeof period === 'number' ? `${period.toFixed(1)} s` : null,
    why || null,
  ]
    .filter((part) => part !== null)
    .join(': ');
  flow.set('answers', answers);
  return { topic: msg.topic, payload: answer };
}

export function escapeHtml(text) {
  return String(text).replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
}

/** A line with the band of its interval. It breaks where records have no value, or where there were none for long. */
export function drawChart(label, unit, records, nowMs) {
  const [width, height, left, bottom] = [480, 150, 40, 24];
  const hours = LIMITS.hours;
  const points = records.filter(({ atMs }) => atMs > nowMs - hours * 3_600_000);
  const valued = points.filter(({ value }) => value !== null);
  const top = Math.max(1, ...valued.map(({ value, high }) => high ?? value)) * 1.1;
  const x = (atMs) => (left + (1 - (nowMs - atMs) / (hours * 3_600_000)) * (width - left)).toFixed(1);
  const y = (value) => ((1 - value / top) * (height - bottom)).toFixed(1);
  const gaps = points.slice(1).map(({ atMs }, index) => atMs - points[index].atMs);
  const usualMs = gaps.sort((a, b) => a - b)[Math.floor(gaps.length / 2)] ?? 0;
  const pieces = [[]];
  let lastMs = null;
  for (const point of points) {
    if (lastMs !== null && point.atMs - lastMs > Math.max(60_000, 5 * usualMs)) pieces.push([]);
    lastMs = point.atMs;
    if (point.value === null) pieces.push([]);
    else pieces.at(-1).push(point);
  }
  const at = (point, value) => `${x(point.atMs)},${y(value)}`;
  const drawn = pieces
    .filter((piece) => piece.length > 0)
    .map((piece) => {
      const band = piece.filter(({ low, high }) => low !== null && high !== null);
      const edge = [...band.map((p) => at(p, p.high)), ...band.toReversed().map((p) => at(p, p.low))];
      const dot = `<circle cx="${x(piece[0].atMs)}" cy="${y(piece[0].value)}" r="1.5"/>`;
      return `<polygon points="${edge.join(' ')}"/><polyline points="${piece.map((p) => at(p, p.value)).join(' ')}"/>${dot}`;
    });
  const step = top > 12 ? 5 : top > 4 ? 2 : top > 1.5 ? 1 : 0.5;
  const lines = Array.from({ length: Math.floor(top / step) + 1 }, (_none, index) => index * step).map(
    (value) =>
      `<path d="M${left} ${y(value)}H${width}"/><text x="${left - 6}" y="${y(value)}" text-anchor="end">${value}</text>`,
  );
  const times = [0, 6, 12, 18].map(
    (ago) =>
      `<text x="${x(nowMs - ago * 3_600_000)}" y="${height - 4}" text-anchor="end">${ago === 0 ? 'now' : `${ago} h ago`}</text>`,
  );
  const title = `${label}, ${unit}: ${valued.length} values in ${hours} hours`;
  return `<figure><figcaption>${escapeHtml(label)}, ${escapeHtml(unit)}</figcaption><svg viewBox="0 -8 ${width} ${height + 8}" role="img" aria-label="${escapeHtml(title)}">${lines.join('')}${times.join('')}${drawn.join('')}</svg></figure>`;
}

export function describeInterval(value, low, high, unit) {
  if (value === null) return null;
  const interval = low === null || high === null ? '' : ` (${low.toFixed(1)} to ${high.toFixed(1)})`;
  return `${value.toFixed(1)}${interval} ${unit}`;
}

/** One camera on the page. */
export function drawCamera(key, { observations, clips }, state, nowMs) {
  const byTime = (records) => Object.values(records).sort((a, b) => a.atMs - b.atMs);
  const [seen, filmed] = [byTime(observations), byTime(clips)];
  const [newest, clip] = [seen.at(-1), filmed.at(-1)];
  const facts = newest
    ? {
        Height:
          describeInterval(newest.value, newest.low, newest.high, 'm') ??
          `none: ${[...(newest.status === 'measured' ? [] : [newest.status]), ...newest.reasons].join(', ')}`,
        Period: describeInterval(newest.periodS, newest.periodLowS, newest.periodHighS, 's') ?? 'none',
      }
    : {};
  if (clip) {
    facts.Breakers = describeInterval(clip.value, clip.low, clip.high, 'm') ?? 'no height';
    if (clip.perMinute !== null) facts['Breaking waves'] = `${clip.perMinute.toFixed(1)} in a minute`;
    if (clip.secondS !== null) facts['Second train'] = `${clip.secondS.toFixed(1)} s`;
  }
  const minutes = newest ? Math.max(0, Math.round((nowMs - newest.atMs) / 60_000)) : null;
  const mark = newest?.isSimulated ? ' <strong>simulated</strong>' : '';
  const rows = Object.entries(facts).map(([name, text]) => `<dt>${name}</dt><dd>${escapeHtml(text)}</dd>`);
  const button = (command, label) => `<button name="command" value="${command}">${label}</button>`;
  const periods = seen.map(({ atMs, periodS, periodLowS, periodHighS }) => ({
    ...{ atMs, value: periodS, low: periodLowS, high: periodHighS },
  }));
  const charts = [
    ['Wave height', 'm', seen],
    ['Wave period', 's', periods],
    ['Breaker height', 'm', filmed],
  ].flatMap(([label, unit, records]) =>
    records.some(({ value }) => value !== null) ? [drawChart(label, unit, records, nowMs)] : [],
  );
  return `<section><h2>${escapeHtml(key)}${mark}</h2><p>device ${escapeHtml(state ?? 'unknown')}${minutes === null ? '' : `, newest record ${minutes} min ago`}</p><dl>${rows.join('')}</dl><form method="post"><input type="hidden" name="camera" value="${escapeHtml(key)}">${button('capture', 'Capture now')}${clip ? button('sea_state', 'Measure a clip') : ''}</form>${charts.join('')}</section>`;
}

/** The page, without scripts. The browser loads it again each minute, and sooner while a command waits for its answer. */
export function drawPage(msg, flow) {
  const nowMs = Date.now();
  const devices = flow.get('devices') ?? {};
  const cameras = Object.entries(flow.get('cameras') ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  const sections = cameras.map(([key, camera]) =>
    drawCamera(key, camera, devices[key.split('/').slice(0, 2).join('/')], nowMs),
  );
  const asked = flow.get('answers') ?? [];
  const isRecent = ({ sentMs }) => nowMs - sentMs < 120_000;
  const isWaiting = asked.some((one) => ['sent', 'accepted'].includes(one.text) && isRecent(one));
  const answers = asked.map((one) => {
    const text = one.text === 'sent' && !isRecent(one) ? 'no answer' : one.text;
    return `<li>${escapeHtml(`${one.command} ${one.camera}: ${text}`)}</li>`;
  });
  const style =
    ':root{color-scheme:light dark}body{font:16px system-ui,sans-serif;margin:1rem;max-width:44rem}' +
    'button{font:inherit;padding:.5rem 1rem;margin:0 .5rem .5rem 0}' +
    'dl{display:grid;grid-template-columns:max-content 1fr;gap:0 1rem}dd{margin:0}figure{margin:.5rem 0}' +
    'svg{width:100%;font-size:14px}svg text{fill:currentColor}svg path{stroke:currentColor;opacity:.2}' +
    'polyline{fill:none;stroke:#07c;stroke-width:2}circle{fill:#07c}polygon{fill:#07c;opacity:.25}';
  msg.payload = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>SwellSight</title><meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="${isWaiting ? 3 : 60}"><style>${style}</style></head><body><h1>SwellSight</h1>${sections.join('') || '<p>No records yet.</p>'}<h2>Commands</h2><ul>${answers.join('') || '<li>none</li>'}</ul></body></html>`;
  msg.headers = {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy':
      "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
  };
  return msg;
}
