"""Who may join which private topic: the policy on realtime.messages, asked as the Realtime server asks it."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from tests.rls.rows import ACTORS, FIRST, role_of
from tests.rls.spec import NONE, TOPICS
from tests.sql.world import ACCOUNT, COMPANY, DRIVER, LOCATION, OPERATOR, World
from tests.support import acting_as

NO_TOPICS = (
    "session:{nobody}",
    "session:",
    "session:rubbish",
    "session:{session}:more",
    "session:{SESSION}",  # not how messages are addressed
    "command:{nobody}",
    "location:{nobody}",
    "location:",
    "client:{nobody}",
    "client:{account}",
    "client:",
    "station:NO-SUCH",
    "station:",
    "bridge",
    "",
    "other:{session}",
)


def joined(world: World, actor: str, topic: str) -> bool:
    """As the server: with realtime.topic set, does a probe row come back under the token's role?"""
    world.sql("select realtime.send('{}', 'probe', %s, true)", topic)
    with acting_as(world.db, ACTORS[actor]):
        world.sql("select set_config('realtime.topic', %s, true)", topic)
        return bool(
            world.sql("select 1 from realtime.messages where topic = %s and extension = 'broadcast' limit 1", topic)
        )


def name(world: World, topic: str) -> str:
    session = world.one("select id from charging_sessions where station_id = 'ST-1'")
    return topic.format(
        session=session,
        SESSION=str(session).upper(),
        command=world.one("select id from commands where station_id = 'ST-1'"),
        nobody=uuid4(),
        location=LOCATION,
        company=COMPANY,
        account=ACCOUNT,
    )


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("topic", TOPICS)
def test_joining(world: World, topic: str, actor: str) -> None:
    cell = TOPICS[topic][role_of(actor)]
    assert joined(world, actor, name(world, topic)) == (cell == "yes" or (cell != NONE and actor in FIRST))


@pytest.mark.parametrize("actor", sorted(set(ACTORS) - {"service_role"}))  # which is above policies
@pytest.mark.parametrize("topic", NO_TOPICS)
def test_nobody_joins_what_is_no_topic(world: World, topic: str, actor: str) -> None:
    assert not joined(world, actor, name(world, topic))


@pytest.mark.parametrize("actor", sorted(set(ACTORS) - {"service_role"}))
def test_nobody_sends_to_private_topics(world: World, actor: str) -> None:
    session = world.one("select id from charging_sessions where station_id = 'ST-1'")
    world.sql("select set_config('realtime.topic', %s, true)", f"session:{session}")
    message = (
        "insert into realtime.messages (topic, extension, event, payload, private)"
        " values (realtime.topic(), 'broadcast', 'x', '{}', true)"
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(world.db, ACTORS[actor]):
        world.sql(message)


def test_user_who_was_shut_out_joins_nothing(world: World) -> None:
    session = world.one("select id from charging_sessions where user_id = %s", DRIVER)
    assert joined(world, "driver", f"session:{session}")
    world.sql("update users set is_active = false where id = %s", DRIVER)
    assert not joined(world, "driver", f"session:{session}")
    assert not joined(world, "driver", "station:ST-1")


@pytest.mark.parametrize("change", ["role = 'driver'", "is_active = false", "client_id = null"])
def test_who_is_no_operator_any_more_joins_nothing_of_the_company(world: World, change: str) -> None:
    """The same token, at its next join or renewal."""
    theirs = ("session:{session}", "command:{command}", "station:SPARE-own", f"client:{COMPANY}")
    assert all(joined(world, "operator", name(world, topic)) for topic in theirs)
    world.sql(f"update users set {change} where id = %s", OPERATOR)
    assert not any(joined(world, "operator", name(world, topic)) for topic in theirs)


def test_joining_does_not_read_the_whole_table(world: World) -> None:
    """may_join() runs for each join and each token refresh of each subscriber."""
    (body,) = world.sql("select prosrc from pg_proc where proname = 'may_join'")[0].values()
    world.sql("set local enable_seqscan = off")
    plan = world.sql("explain " + body.replace("p_topic", "current_setting('realtime.topic')").replace("%", "%%"))
    assert "Index" in str(plan)
    assert "Seq Scan" not in str(plan)
