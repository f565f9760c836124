"""Scripts for the page: drag and drop, which playwright cannot do with files, and a look at the canvas."""

from __future__ import annotations

# Return the data of a drag of the asset with this name: texts by type.
DRAG = """
name => {
    const cell = [...document.querySelectorAll('.ca-cell')].find(each => each.title.includes(name))
    const dataTransfer = new DataTransfer()
    cell.dispatchEvent(new DragEvent('dragstart', { bubbles: true, cancelable: true, dataTransfer }))
    return Object.fromEntries([...dataTransfer.types].map(type => [type, dataTransfer.getData(type)]))
}
"""

# Return whether a node on the canvas shows this text. Older pages have the graph as `app.graph`.
ON_CANVAS = """
text => (app.rootGraph ?? app.graph)?.nodes.some(
    node => node.widgets_values?.[0] === text || node.widgets?.some(widget => widget.value === text)
)
"""

# Drop a text file onto the panel.
DROP = """
({ name, text }) => {
    const dataTransfer = new DataTransfer()
    dataTransfer.items.add(new File([text], name, { type: 'text/plain' }))
    for (const type of ['dragenter', 'dragover', 'drop']) {
        const event = new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer })
        document.querySelector('.ca-tab-content').dispatchEvent(event)
    }
}
"""
