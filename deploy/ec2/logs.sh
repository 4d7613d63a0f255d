#!/bin/sh
# Sends what dth's units write to the journal to a log group of CloudWatch, every half minute and once more when it is stopped:
# dth-logs GROUP
#
# CloudWatch makes metrics of the lines that `--metrics-emf -` writes. A cursor says how far the journal was sent; it moves only
# after CloudWatch took the lines, so that an answer that is lost may repeat lines and never loses one.
set -eu
group=$1
name=/var/lib/cloud/data/instance-id
stream=dth/$(cat "$name" 2>/dev/null || uname -n)
here=${STATE_DIRECTORY:-/var/lib/dth-logs}
mkdir -p "$here"
cd "$here"

# Lines of the journal, as `short-unix` prints them, to files of events for PutLogEvents: at most 5,000 events and half of the
# 1 MiB that one call may carry. A line without a time goes on with the message before it.
cut_up() {
  rm -f batch.*
  iconv -c -f UTF-8 -t UTF-8 | LC_ALL=C tr '\001-\011\013-\037\177' ' ' | sed 's/[\\"]/\\&/g' | LC_ALL=C awk '
    function put() {
      if (text == "") return
      if (events == 5000 || bytes + length(text) > 500000) { print "]" > file; close(file); file = "" }
      if (file == "") { file = sprintf("batch.%06d", ++files); events = bytes = 0; printf "[" > file }
      printf "%s{\"timestamp\":%s,\"message\":\"%s\"}", (events++ ? "," : ""), time, text > file
      bytes += length(text) + 64
      text = ""
    }
    {
      if (match($0, /^[0-9]+\.[0-9]+ [^ ]+: /)) {
        put()
        time = substr($0, 1, index($0, ".") - 1) substr($0, index($0, ".") + 1, 3)
        $0 = substr($0, RLENGTH + 1)
        mark = ""
      } else mark = "\\n"
      if (time != "") text = text mark $0
    }
    END { put(); if (file != "") print "]" > file }'
}

ship() {
  rm -f next
  [ ! -e cursor ] || cp cursor next
  journalctl -q --all -o short-unix --no-hostname -u 'dth-worker*' --cursor-file=next | cut_up
  for batch in batch.*; do
    [ -e "$batch" ] || continue
    aws logs put-log-events --log-group-name "$group" --log-stream-name "$stream" --log-events "file://$batch" >said 2>&1 || {
      cat said >&2
      return 1
    }
    ! grep -q rejected said || cat said >&2
    rm "$batch"
  done
  [ ! -e next ] || mv next cursor
}

until said=$(aws logs create-log-stream --log-group-name "$group" --log-stream-name "$stream" 2>&1); do
  case "$said" in *ResourceAlreadyExists*) break ;; esac
  echo "dth-logs: $said" >&2
  sleep 30
done
trap 'ship || true; exit 0' TERM
while :; do
  ship || true
  sleep 30 &
  wait $! || true
done
