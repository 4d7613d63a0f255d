"""Where machines are: the VPC that the parameters name, or one that is made; and a way out, but none in."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnCondition, Fn
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from deploy.parts.common import Parameters, choose, choose_list, when

RANGE = "10.0.0.0/16"
GATEWAYS = ("s3", "dynamodb")  # free, and their traffic stays inside of AWS
INTERFACES = ("ecr.api", "ecr.dkr", "kms", "logs", "monitoring", "secretsmanager", "sns", "sqs", "sts")
"""What machines ask of AWS beside S3 and DynamoDB, where nothing leads out."""
ZONES = 2


class Network(Construct):
    """`subnets` is a list (a token), `group` the id of a security group without any way in."""

    def __init__(self, scope: Construct, name: str, parameters: Parameters) -> None:
        super().__init__(scope, name)
        none = Fn.condition_equals(parameters["ec2VpcId"], "")

        def made(name: str, *kinds: str) -> CfnCondition:
            asked = [Fn.condition_equals(parameters["network"], kind) for kind in kinds]
            any_of = asked[0] if len(asked) == 1 else Fn.condition_or(*asked)
            return CfnCondition(scope, name, expression=Fn.condition_and(none, any_of))

        self._made = CfnCondition(scope, "MakesNetwork", expression=none)
        self._open = made("MakesWayOut", "PUBLIC", "PRIVATE")
        self._nat = made("MakesNat", "PRIVATE")
        self._public = made("MakesPublicNetwork", "PUBLIC")
        self._isolated = made("MakesIsolatedNetwork", "ISOLATED")
        self._hidden = made("MakesHiddenSubnets", "PRIVATE", "ISOLATED")
        made_vpc = self._vpc()
        self.vpc = choose(self._made, made_vpc, parameters["ec2VpcId"].value_as_string)
        self.group = outward(self, "Group", self.vpc)
        shown, hidden = self._shown(made_vpc), self._inner(made_vpc)
        subnets = [choose(self._public, *pair) for pair in zip(shown, hidden, strict=True)]
        self.subnets = choose_list(self._made, subnets, parameters["ec2Subnets"].value_as_list)

    def _vpc(self) -> str:
        vpc = ec2.CfnVPC(self, "Vpc", cidr_block=RANGE, enable_dns_hostnames=True, enable_dns_support=True)
        when(vpc, self._made)
        return str(vpc.ref)

    def _shown(self, vpc: str) -> list[str]:
        """Subnets with addresses of their own: for machines, or for the NAT gateway."""
        way = self._only(self._open, ec2.CfnInternetGateway(self, "Way"))
        attached = ec2.CfnVPCGatewayAttachment(self, "WayAttached", vpc_id=vpc, internet_gateway_id=way.ref)
        self._only(self._open, attached)
        table = self._only(self._open, ec2.CfnRouteTable(self, "Routes", vpc_id=vpc))
        out = ec2.CfnRoute(
            self, "Out", route_table_id=table.ref, destination_cidr_block="0.0.0.0/0", gateway_id=way.ref
        )
        self._only(self._open, out).add_dependency(attached)
        subnets = [self._subnet(f"Subnet{number}", vpc, number, table.ref, self._open) for number in range(ZONES)]
        self._gateways("To", vpc, table.ref, self._public)
        return subnets

    def _inner(self, vpc: str) -> list[str]:
        """Subnets without: what leads out of them is a NAT gateway, or endpoints of AWS's services alone."""
        table = self._only(self._hidden, ec2.CfnRouteTable(self, "InnerRoutes", vpc_id=vpc))
        names = [f"Inner{number}" for number in range(ZONES)]
        subnets = [
            self._subnet(name, vpc, ZONES + number, table.ref, self._hidden) for number, name in enumerate(names)
        ]
        self._gateways("InnerTo", vpc, table.ref, self._hidden)
        address = self._only(self._nat, ec2.CfnEIP(self, "NatAddress", domain="vpc"))
        first = self.node.find_child("Subnet0")
        assert isinstance(first, ec2.CfnSubnet)
        nat = ec2.CfnNatGateway(self, "Nat", subnet_id=first.ref, allocation_id=address.attr_allocation_id)
        self._only(self._nat, nat)
        out = ec2.CfnRoute(
            self, "InnerOut", route_table_id=table.ref, destination_cidr_block="0.0.0.0/0", nat_gateway_id=nat.ref
        )
        self._only(self._nat, out)
        self._interfaces(vpc, subnets)
        return subnets

    def _interfaces(self, vpc: str, subnets: list[str]) -> None:
        """Endpoints, reached by the machines' group alone."""
        door = ec2.CfnSecurityGroup(
            self,
            "Door",
            vpc_id=vpc,
            group_description="dth: endpoints of AWS services",
            security_group_ingress=[
                {
                    "ipProtocol": "tcp",
                    "fromPort": 443,
                    "toPort": 443,
                    "sourceSecurityGroupId": self.group,
                    "description": "machines of this stack",
                }
            ],
        )
        self._only(self._isolated, door)
        for service in INTERFACES:
            endpoint = ec2.CfnVPCEndpoint(
                self,
                "By" + service.title().replace(".", ""),
                vpc_id=vpc,
                vpc_endpoint_type="Interface",
                service_name=Fn.sub(f"com.amazonaws.${{AWS::Region}}.{service}"),
                subnet_ids=subnets,
                security_group_ids=[door.attr_group_id],
                private_dns_enabled=True,
            )
            self._only(self._isolated, endpoint)

    def _gateways(self, name: str, vpc: str, table: str, condition: CfnCondition) -> None:
        for service in GATEWAYS:
            endpoint = ec2.CfnVPCEndpoint(
                self,
                f"{name}{service}",
                vpc_id=vpc,
                vpc_endpoint_type="Gateway",
                service_name=Fn.sub(f"com.amazonaws.${{AWS::Region}}.{service}"),
                route_table_ids=[table],
            )
            self._only(condition, endpoint)

    def _subnet(self, name: str, vpc: str, number: int, table: str, condition: CfnCondition) -> str:
        subnet = ec2.CfnSubnet(
            self,
            name,
            vpc_id=vpc,
            cidr_block=Fn.select(number, Fn.cidr(RANGE, 2 * ZONES, "12")),
            availability_zone=Fn.select(number % ZONES, Fn.get_azs()),
            map_public_ip_on_launch=condition is self._open,
        )
        self._only(condition, subnet)
        routes = ec2.CfnSubnetRouteTableAssociation(self, f"{name}Routes", route_table_id=table, subnet_id=subnet.ref)
        self._only(condition, routes)
        return str(subnet.ref)

    def _only(self, condition: CfnCondition, resource: Any) -> Any:
        when(resource, condition)
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
