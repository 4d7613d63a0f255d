#!/bin/sh
# Tells CloudWatch how much of a machine's memory and disk is in use, in percent: dth-vitals NAMESPACE GROUP
set -eu
memory=$(awk '/^MemTotal:/ { all = $2 } /^MemAvailable:/ { free = $2 } END { printf "%.1f", 100 * (all - free) / all }' /proc/meminfo)
disk=$(df -P / | awk 'END { sub("%", "", $5); print $5 }')
group="Dimensions=[{Name=AutoScalingGroupName,Value=$2}]"
exec aws cloudwatch put-metric-data --namespace "$1" --metric-data \
  "MetricName=mem_used_percent,Unit=Percent,Value=$memory,$group" \
  "MetricName=disk_used_percent,Unit=Percent,Value=$disk,$group"
