/** Lines of `swellsight doctor` for cameras, without the state and the name. A test provokes each one. */
export const CAMERA_EXAMPLES = {
  'http-404':
    'the camera answered with status 404 [camera_unreachable] -> check the path in url: the camera does not know it',
  'http-login':
    'the camera answered with status 401 [camera_auth] -> check the user name and the password of the camera',
  'http-text':
    'the response is text and not an image: <html><body>Session expired</body></html> [camera_codec] -> open url in a browser: it must show one JPEG, PNG or WebP image, or a Motion JPEG stream',
  'self-signed':
    'the camera\'s certificate is self-signed; nothing was sent to it [camera_certificate] -> if this is the camera\'s own certificate, set tls.fingerprint256: "FINGERPRINT"; otherwise name its authority with tls.ca',
  'rtsp-closed':
    'the camera cannot be reached (ECONNREFUSED) [camera_unreachable] -> check the port in url, and switch this service on in the camera',
  'rtsp-404':
    'the camera answered DESCRIBE with status 404 [camera_unreachable] -> check the path in url: the camera does not know it',
  'rtsp-http':
    'the camera does not speak RTSP on this port [camera_codec] -> check the scheme and the port in url: the camera speaks another protocol there',
  'hls-drm':
    'the stream is encrypted with SAMPLE-AES; the agent can decrypt AES-128 [camera_codec] -> check that url names an HLS playlist (.m3u8) of H.264 or H.265 video',
  'hls-page':
    'the answer is not an HLS playlist [camera_codec] -> check that url names an HLS playlist (.m3u8) of H.264 or H.265 video',
  'film-empty':
    'the video file is empty: it has 0 bytes [camera_no_frame] -> check that the recorder runs and that its disk is not full',
} as const;

/** A file of settings in YAML, and the line of `swellsight check-config` for it. A test provokes each one. */
export const CONFIGURATION_EXAMPLES: readonly (readonly [settings: string, line: string])[] = [
  [
    "cameras: [{ id: north, kind: rtsp, url: 'rtsp://10.0.0.5/a', password: !secret cam }]",
    '(file): given Unresolved tag: !secret at line 1, column 72, wanted no tags of other programs: give a secret by …_file or an environment variable; quote a text that begins with !',
  ],
  [
    "cameras: [{ id: north, kind: rtsp, url: 'rtsp://10.0.0.5/a', username: u, password: '${SECRET}' }]",
    'cameras[0].password: given ***, wanted the value itself: placeholders are not replaced; use an environment variable SWELLSIGHT_… or a …_file key',
  ],
  [
    "cameras: [{ id: north, kind: rtsp, url: 'rtsp://10.0.0.5/a', schedule: { cron: '*/90 * * * *' } }]",
    'cameras[0].schedule.cron: given "*/90 * * * *", wanted everyS: 5400 instead of cron, for a run every 90 minutes (*/90 in the field minute matches only 0)',
  ],
  [
    "cameras: [{ id: north, kind: rtsp, url: 'rtsp://viewer:pass#word@10.0.0.5/a' }]",
    'cameras[0].url: given ***, wanted a URL with rtsp:// or rtsps://; write a login with characters such as @ # / ? : % or a space in the keys username and password',
  ],
  [
    "cameras: [{ id: north, kind: http, url: 'http://10.0.0.5/a', headers: { 'X Key': a } }]",
    'cameras[0].headers: given a header name, wanted a header name of letters, digits and -',
  ],
  [
    "mqtt: { url: 'mqtts://10.0.0.9', ca: /etc/none.pem }",
    'mqtt.ca: given /etc/none.pem, wanted a readable file (ENOENT)',
  ],
];
