"""What ComfyUI's own page saves and executes is a workflow, with versions and jobs."""

from __future__ import annotations

from typing import Any

from page_deeds import save

URL = "/api/workflows"
# A graph of nodes that take no time, as somebody would put it together.
BUILD = """
() => {
    const {app, LiteGraph} = window
    const nodes = ["EmptyImage", "ImageScale", "SaveImage"].map(type => LiteGraph.createNode(type))
    nodes.forEach(node => app.graph.add(node))
    nodes[0].connect(0, nodes[1], 0)
    nodes[1].connect(0, nodes[2], 0)
    for (const node of nodes)
        for (const widget of node.widgets) if (["width", "height"].includes(widget.name)) widget.value = 64
}
"""
CHANGE = "() => { window.app.graph._nodes[0].widgets[0].value = 32 }"
EXECUTE = "async () => { await window.app.queuePrompt(0) }"
PATHS = "() => window.app.extensionManager.workflow.workflows.map(each => each.path)"


def wait_for_version(server: Any, workflow_id: str, number: int) -> str:
    """The id of a workflow's version, once it is there."""
    server.wait_for(f"{URL}/{workflow_id}", lambda workflow: workflow["latest_version"] == number)
    return str(server.request(f"{URL}/{workflow_id}/versions/{number}")["id"])


def version_of_latest_job(server: Any, workflow_id: str, count: int) -> str | None:
    """The version that the latest of a workflow's jobs is of, once there are that many."""
    path = f"/api/jobs?workflow_id={workflow_id}&status=completed"
    server.wait_for(path, lambda page: page["pagination"]["total"] == count)
    latest = server.request(path)["jobs"][0]["id"]
    return server.request(f"/api/jobs/{latest}").get("workflow_version_id")


def test_what_the_page_saves(start: Any, open_page: Any) -> None:
    with start("with") as server:
        made = server.request(URL, {"name": "by a client", "workflow_json": {"nodes": [], "links": [], "version": 0.4}})
        with open_page(server) as (page, troubles):
            page.wait_for_function(f"({PATHS})().includes('workflows/by a client.json')")
            page.wait_for_function("() => window.app.graph._nodes.length > 0")  # what the page opens with
            page.evaluate("() => window.app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
            page.wait_for_function("() => window.app.graph._nodes.length === 0")
            page.evaluate(BUILD)
            save(page, "by the page")
            server.wait_for(URL, lambda listed: listed["pagination"]["total"] == 2)
            (own,) = [each["id"] for each in server.request(URL)["data"] if each["id"] != made["id"]]
            assert server.request(f"{URL}/{own}")["name"] == "by the page"
            graph = server.request(f"{URL}/{own}/content")["workflow_json"]
            assert {node["type"] for node in graph["nodes"]} == {"EmptyImage", "ImageScale", "SaveImage"}

            first = wait_for_version(server, own, 1)
            page.evaluate(EXECUTE)
            assert version_of_latest_job(server, own, 1) == first
            page.evaluate(CHANGE)
            page.evaluate(EXECUTE)
            assert version_of_latest_job(server, own, 2) is None
            save(page)
            second = wait_for_version(server, own, 2)
            page.evaluate(EXECUTE)
            assert version_of_latest_job(server, own, 3) == second
        assert not troubles.errors
