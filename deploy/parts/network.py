"""Where machines are: the VPC that the parameters name, or one that is made; and a way out, but none in."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnCondition, Fn
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from deploy.parts.common import Parameters, choose, choose_list, when

RANGE = "10.0.0.0/16"
GATEWAYS = ("s3", "dynamodb")  # free, and their traffic stays inside of AWS


class Network(Construct):
    """`subnets` is a list (a token), `group` the id of a security group without any way in."""

    def __init__(self, scope: Construct, name: str, parameters: Parameters) -> None:
        super().__init__(scope, name)
        self._made = CfnCondition(scope, "MakesNetwork", expression=Fn.condition_equals(parameters["ec2VpcId"], ""))
        vpc, first, second = self._make()
        self.vpc = choose(self._made, vpc, parameters["ec2VpcId"].value_as_string)
        self.subnets = choose_list(self._made, [first, second], parameters["ec2Subnets"].value_as_list)
        self.group = outward(self, "Group", self.vpc)

    def _make(self) -> tuple[str, str, str]:
        vpc = self._conditional(
            ec2.CfnVPC(self, "Vpc", cidr_block=RANGE, enable_dns_hostnames=True, enable_dns_support=True)
        )
        way = self._conditional(ec2.CfnInternetGateway(self, "Way"))
        attached = self._conditional(
            ec2.CfnVPCGatewayAttachment(self, "WayAttached", vpc_id=vpc.ref, internet_gateway_id=way.ref)
        )
        table = self._conditional(ec2.CfnRouteTable(self, "Routes", vpc_id=vpc.ref))
        out = self._conditional(
            ec2.CfnRoute(self, "Out", route_table_id=table.ref, destination_cidr_block="0.0.0.0/0", gateway_id=way.ref)
        )
        out.add_dependency(attached)
        subnets = []
        for number in range(2):
            subnet = self._conditional(
                ec2.CfnSubnet(
                    self,
                    f"Subnet{number}",
                    vpc_id=vpc.ref,
                    cidr_block=Fn.select(number, Fn.cidr(RANGE, 2, "12")),
                    availability_zone=Fn.select(number, Fn.get_azs()),
                    map_public_ip_on_launch=True,
                )
            )
            self._conditional(
                ec2.CfnSubnetRouteTableAssociation(
                    self, f"Subnet{number}Routes", route_table_id=table.ref, subnet_id=subnet.ref
                )
            )
            subnets.append(subnet.ref)
        for service in GATEWAYS:
            self._conditional(
                ec2.CfnVPCEndpoint(
                    self,
                    f"To{service}",
                    vpc_id=vpc.ref,
                    vpc_endpoint_type="Gateway",
                    service_name=Fn.sub(f"com.amazonaws.${{AWS::Region}}.{service}"),
                    route_table_ids=[table.ref],
                )
            )
        return vpc.ref, subnets[0], subnets[1]

    def _conditional(self, resource: Any) -> Any:
        when(resource, self._made)
        return resource


def outward(scope: Construct, name: str, vpc: Any) -> str:
    """The id of a security group that lets everything out and nothing in: stores may listen at any port."""
    return str(
        ec2.CfnSecurityGroup(
            scope,
            name,
            vpc_id=vpc,
            group_description="dth: out, but not in",
            security_group_egress=[
                {"ipProtocol": "-1", "cidrIp": "0.0.0.0/0", "description": "stores, queues and tables"}
            ],
        ).attr_group_id
    )
