import type { TaskType } from "../api/types";
import type { Values, Wrong } from "./check";

/** Parameters of the original's templates that shape a deployment on AWS. A run on the hub's own machine uses none of them. */
export const DEPLOYMENT = {
  S3EC2: ["minCapacity", "desiredCapacity", "maxCapacity", "finderEc2Memory", "ec2VpcId", "ec2Subnets"],
  ECR: ["ecsClusterName", "ecsVpcId", "ecsSubnetA", "ecsSubnetB"],
} as const;
export type Name = (typeof DEPLOYMENT)[TaskType][number];
const IDS: Partial<Record<Name, RegExp>> = {
  ec2VpcId: /^vpc-[0-9a-f]{8,17}$/,
  ecsVpcId: /^vpc-[0-9a-f]{8,17}$/,
  ec2Subnets: /^subnet-[0-9a-f]{8,17}(\s*,\s*subnet-[0-9a-f]{8,17})*$/,
  ecsSubnetA: /^subnet-[0-9a-f]{8,17}$/,
  ecsSubnetB: /^subnet-[0-9a-f]{8,17}$/,
};

/** What is wrong with one parameter; null where nothing is. The number of machines lies between its bounds. */
export function wrongDeployment(name: Name, values: Values): Wrong {
  const value = values[name] ?? "";
  if (value === "") return null;
  if (name.endsWith("Capacity")) {
    if (!/^\d{1,5}$/.test(value)) return { key: "wrong.number" };
    const [low, high] = [Number(values["minCapacity"] || 0), Number(values["maxCapacity"] || Number.POSITIVE_INFINITY)];
    return Number(value) < low || Number(value) > high ? { key: "wrong.capacity" } : null;
  }
  return IDS[name]?.test(value) === false ? { key: name.includes("Vpc") ? "wrong.vpc" : "wrong.subnet" } : null;
}
