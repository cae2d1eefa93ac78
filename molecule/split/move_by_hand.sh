#!/usr/bin/env bash
# Move the state by hand, flat; leave behind what such hosts have: misplaced databases, measurement sets without a row.
set -euo pipefail
old=/stage/dsa110-contimg/state new=/data/dsa110-contimg/state code=/data/dsa110-contimg/src
units=(contimg-stream-wake.timer contimg-stream.service contimg-api.service)
systemctl stop "${units[@]}"
rm -rf $new && cp -a $old $new && mv $new/db/* $new && rmdir $new/db
sed -i "s#$old/db#$new#; s#$old#$new#" /data/dsa110-contimg/ops/systemd/contimg.env /etc/systemd/system/contimg-stream.service
sqlite3 $new/products.sqlite3 "DROP INDEX idx_hdf5_stored; ALTER TABLE hdf5_file_index DROP COLUMN stored;
  ALTER TABLE hdf5_file_index ADD COLUMN note TEXT; UPDATE hdf5_file_index SET note = 'flagged' WHERE rowid = 1"
sqlite3 $new/products.sqlite3 "SELECT path FROM ms_index WHERE rowid > 1" | xargs mkdir -p /stage/dsa110-contimg/ms/2026-01-01T00:00:00.ms
mkdir -p $code/state $code/dsa110_contimg/state /data/incoming-2026
touch /data/incoming-2026/2026-01-01T00:00:00_sb{00..15}.hdf5
sqlite3 $new/products.sqlite3 ".backup $code/state/products.sqlite3"
sqlite3 $new/products.sqlite3 ".backup $code/dsa110_contimg/state/products.sqlite3"
sqlite3 $code/dsa110_contimg/state/products.sqlite3 "INSERT INTO ms_index (path) VALUES ('/stage/own.ms')"
sqlite3 "/data/dsa110-contimg/\${PIPELINE_DB}" "CREATE TABLE ms_index (path TEXT PRIMARY KEY)"
systemctl daemon-reload
systemctl start "${units[@]}"
