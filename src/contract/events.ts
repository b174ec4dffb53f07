/** Every `type` that an event can have, and what it tells. Additive within v1; a test holds list and code equal. */
export const EVENT_TYPES: Readonly<Record<string, string>> = {
  camera_state: 'A camera went up, down, frozen or obstructed. Context: camera, state, before, reason.',
  clock_step:
    'The wall clock was moved; later moves within ten minutes are told together. Context: delta_ms, steps, largest_ms, synced, offset_ms.',
  command_refused:
    'Commands were retained, expired or of a time that cannot be judged, and were not run; or so many came that some were left unanswered. Context: command, id of the newest, count.',
  config_changed: 'A change of the configuration was confirmed. Context: trial, keys.',
  config_overlay_dropped:
    'What remote commands had set cannot be used, and was set aside. Context: file, reason.',
  config_undone: 'A change of the configuration was undone. Context: trial, reason, keys.',
  model_calibration_lost:
    'With the new model a camera is without a site calibration, until new pictures are labelled. Context: update_id, name, version, camera, labels.',
  model_fallback: 'The wanted model could not be opened; another one runs.',
  model_install_committed: 'A new model has passed its probation. Context: update_id, name, version, digest.',
  model_install_failed:
    'A model was not installed; the former one serves as before. The code says why. Context: update_id, name, version, digest, phase.',
  model_install_rolled_back:
    'A new model served and was taken back; the former one serves again. The code says why. Context: update_id, name, version, digest, phase.',
  model_install_started: 'A model is being installed. Context: update_id, name, version, digest.',
  model_rollback: 'An operator returned to the former model. Context: name, version, digest, from.',
  model_slots_damaged:
    'The file that says which model is installed was broken and is set aside; the shipped model serves. Context: file, aside.',
  mqtt_certificate_expiring:
    'A certificate of the connection ends soon, or has ended. Context: whose, expires_at, fingerprint.',
  mqtt_credentials_unusable: 'A file with a secret or a certificate of the connection cannot be used.',
  mqtt_moved:
    'The broker sends its clients elsewhere; it is not followed. Context: broker, server_reference.',
  mqtt_refused: 'The broker refuses the credentials, or is not trusted.',
  mqtt_session_forgotten:
    'A message for this device was too large to be read: its session is begun anew, and commands that waited are lost. Context: broker.',
  mqtt_state_left_out:
    'The link was lost each time that a retained state was published; it is left out. Context: topic, size_bytes.',
  mqtt_subscribe_refused: 'The broker refuses the subscription to commands.',
  mqtt_taken_over: 'Another client connected with the client id of this device. Context: client_id.',
  outbox_dropped:
    'Records were dropped unsent, for the outbox is at its bound. Context: dropped, dropped_total.',
  outbox_rejected:
    'The broker will not take a message; it was set aside. Context: topic, stream, seq, reason, size_bytes.',
  provider_demoted: 'The execution provider failed; a slower one runs. Context: from, to.',
  records_unstored:
    'The disk did not take records for a while: they have no number, and were not published. Context: records.',
  store_recovered:
    'The database was damaged, set aside, and a new one begun. Context: reason, quarantined, records_lost_at_most, records_kept, labels_kept.',
  times_mended:
    'Records and events from before the clock was set were given their right times, or were marked as uncertain. Context: corrected, uncertain.',
  vision_exited: 'The vision process ended and is started again.',
  vision_recycled: 'The vision process grew beyond its limit and was replaced.',
  vision_start_failed: 'The vision process does not start.',
};
