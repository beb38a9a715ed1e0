"""A target retires while the gateway runs: nothing stops, and operators are told."""

import logging
from datetime import date

from support.event_loop import run
from support.live_gateway import live

FILE = {
    "aliases": {"fast": "openai/old"},
    "fallbacks": {"mine": ["openai/old", "openai/gpt-5.4"]},
    "models": {"openai/old": {"retires": "2030-06-01", "replacement": "new"}},
}


def test_from_the_last_day_to_the_reload_after_it(tmp_path, caplog):
    today = [date(2030, 5, 31)]

    async def main():
        async with live(tmp_path, file=FILE, today=lambda: today[0]) as running:

            async def explained():
                return (await running.get("/admin/explain?model=mine"))[1]

            assert (await explained())["left_out"] == {}
            running.app.reloading.warn_of_retirements()
            assert "openai/old (aliases.fast) retires on 2030-06-01, in 1 day; its host recommends new" in caplog.text
            caplog.clear()
            today[0] = date(2030, 6, 1)
            running.app._publish()  # it is called every second
            assert (await explained())["left_out"] == {
                "openai/old": "it retired on 2030-06-01; its host recommends new"
            }
            assert (await running.chat("fast"))[0] == 200  # its provider answers for itself
            page = await running.change(**FILE, rpm_limit=1000)
            assert page["changed"] == ["RPM_LIMIT"]
            assert "openai/old (aliases.fast) retired on 2030-06-01; its host recommends new" in caplog.text
            caplog.clear()
            await running.reload()
            assert "retired" not in caplog.text  # the same is not logged again
            more = {**FILE, "aliases": {"fast": "openai/old", "new": "openai/older"}}
            more["models"] = {**FILE["models"], "openai/older": {"retires": "2030-05-01"}}
            running.write(**more)
            status, page = await running.reload()
            assert status == 422
            assert "aliases.new = 'openai/older': retired on 2030-05-01" in str(page)

    with caplog.at_level(logging.WARNING, "nulpoint"):
        run(main())
