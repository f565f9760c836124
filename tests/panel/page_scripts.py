"""Scripts for the page: what only a hand does with a pointer, and what is on the canvas."""

from __future__ import annotations

# What an asset of this name hands over when it is dragged: types and their texts.
DRAG = """
name => {
    const cell = [...document.querySelectorAll('.ca-cell')].find(each => each.title.includes(name))
    const dataTransfer = new DataTransfer()
    cell.dispatchEvent(new DragEvent('dragstart', { bubbles: true, cancelable: true, dataTransfer }))
    return Object.fromEntries([...dataTransfer.types].map(type => [type, dataTransfer.getData(type)]))
}
"""

# Whether a node on the canvas says this; older pages know the graph by another name.
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
