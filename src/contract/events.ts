/** All event types and their meaning. Changes within v1 are additive. A test compares this list with the code. */
export const EVENT_TYPES: Readonly<Record<string, string>> = {
  agent_update_committed:
    'A version of the agent has passed its trial. Context: update_id, version, digest, action.',
  agent_update_failed:
    'An update of the agent failed; the version that ran before still runs. The code is the reason. Context: update_id, version, digest, action, phase.',
  agent_update_returned:
    'A version of the agent was started and failed its trial; the former version runs again. The code is the reason. Context: update_id, version, digest, action, phase.',
  agent_update_started: 'An update of the agent started. Context: update_id, version, action, automatic.',
  camera_state: 'The state of a camera changed. Context: camera, state, before, reason.',
  camera_view:
    'A camera was moved away from its labelled views (code `view_changed`), or shows one of them again (`view_known`). Context: camera, labels_kept.',
  capture_slowdown:
    'Heat or low power began or ended to make cameras observe less often. The code is `heat`, `low_power` or `ended`. Context: factor, reason.',
  clock_step:
    'The wall clock was stepped. Later steps within ten minutes are reported together. Context: delta_ms, steps, largest_ms, synced, offset_ms.',
  command_refused:
    'Commands were not executed because they were retained, expired, or could not be dated; or some commands got no response because there were too many. Context: command, id of the newest, count.',
  config_changed:
    'A change of the configuration was confirmed (context: trial, keys), the changed local configuration was read again (context: keys, restart), or remote settings were removed on the device (context: keys).',
  config_overlay_dropped:
    'The settings of remote commands are not usable and were set aside (context: file, reason), or the local configuration does not allow those of some cameras, which are not in force (context: cameras, each with id and reason).',
  config_refused:
    'The local configuration has changed and cannot be used; the former one stays in force. Context: failure, keys.',
  config_undone: 'A change of the configuration was undone. Context: trial, reason, keys.',
  history_deleted:
    'The disk is full: the oldest records and events were deleted to make room for new ones. Context: rows, from, to.',
  model_calibration_lost:
    'With the new model, a camera has no site calibration until new images are labelled. Context: update_id, name, version, camera, labels.',
  model_fallback: 'The active model did not start; another one is in use.',
  model_install_committed: 'A new model has passed its probation. Context: update_id, name, version, digest.',
  model_install_failed:
    'An install failed; the previous model stays active. The code is the reason. Context: update_id, name, version, digest, phase.',
  model_install_rolled_back:
    'A new model was activated and rolled back; the previous model is active again. The code is the reason. Context: update_id, name, version, digest, phase.',
  model_install_started: 'An install started. Context: update_id, name, version, digest.',
  model_rollback: 'An operator activated the previous model. Context: name, version, digest, from.',
  model_slots_damaged:
    'The file with the installed models was damaged and set aside; the shipped model is active. Context: file, aside.',
  mqtt_broker_limited:
    'The broker has not all features; the agent does without them. Context: broker, limits.',
  mqtt_certificate_expiring:
    'A certificate of the connection expires soon or has expired. Context: whose, expires_at, fingerprint.',
  mqtt_credentials_unusable: 'A secret or certificate file of the connection is not usable.',
  mqtt_moved:
    'The broker refers its clients to another server; the agent does not follow. Context: broker, server_reference.',
  mqtt_refused: 'The broker refuses the credentials, or its certificate is not trusted.',
  mqtt_session_forgotten:
    'A message for this device was too large: the session was reset, and waiting commands are lost. Context: broker.',
  mqtt_state_left_out:
    'The connection was lost each time a retained state was published; the agent no longer publishes this state. Context: topic, size_bytes.',
  mqtt_subscribe_refused: 'The broker refuses the subscription to commands.',
  mqtt_taken_over: 'Another client connected with the client id of this device. Context: client_id.',
  no_progress:
    'A part of the agent makes no progress, so the watchdog of systemd restarts the service. Context: parts (main_loop, vision, scheduler).',
  outbox_dropped: 'Unsent records were dropped because the outbox is full. Context: dropped, dropped_total.',
  outbox_rejected:
    'The broker rejected a message; it was set aside. Context: topic, stream, seq, reason, size_bytes.',
  provider_demoted: 'The execution provider failed; a slower one is in use. Context: from, to.',
  records_unstored:
    'Some records could not be stored: they have no number and were not published. Context: records.',
  service_stopped:
    'The service manager reports that the last run did not end by a clean stop. The code is $SERVICE_RESULT of systemd. Context: at, service_result, exit_code, exit_status.',
  store_id_changed:
    'The state directory was restored, copied or moved, so that the records have a new store_id. The code is the reason: `copied`, `other_machine`, `other_disk`, `database_replaced` or `file_missing`. Context: store_id, before, reason.',
  store_recovered:
    'The database was damaged and set aside; the agent started a new one. Context: reason, quarantined, records_lost_at_most, records_kept, labels_kept.',
  times_mended:
    'Times of records and events from before the clock was set were corrected, or marked as uncertain. Context: corrected, uncertain.',
  vision_exited: 'The vision process exited and is restarted.',
  vision_recycled: 'The vision process exceeded its memory limit and was replaced.',
  vision_start_failed: 'The vision process does not start.',
};
